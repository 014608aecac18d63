"""A developer's own view: a form creates an order and enqueues a task, in one transaction, and shows the result."""

from inspect import getsource

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from holdfast.demo import selectors, services
from holdfast.demo.forms import OrderForm

#: Shown beside the form: what the view does, by its own source.
CODE = getsource(services.order_place)


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def orders(request: ActorRequest) -> HttpResponse:
    """The orders with their receipts, and a form for another one."""
    form = OrderForm(request.POST or None)
    if request.method == "POST":
        require(request.actor, "runs.enqueue")
        if form.is_valid():
            services.order_place(form)
            return redirect("demo:orders")
    context = {"form": form, "orders": selectors.orders_recent(), "code": CODE}
    return render(request, "demo/orders.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD"])
@requires("runs.view")
def orders_rows(request: ActorRequest) -> HttpResponse:
    """The table alone, for the page to refresh."""
    return render(request, "demo/_orders.html", {"orders": selectors.orders_recent()})
