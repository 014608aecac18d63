"""What the demo shop does: an order and the run that handles it are stored together, or not at all."""

from django.db import transaction

from holdfast.demo.forms import OrderForm
from holdfast.demo.models import Order
from holdfast.demo.tasks import send_receipt


@transaction.atomic
def order_place(form: OrderForm) -> Order:
    """Stores the order and enqueues its receipt. If anything in here fails, there is neither order nor run."""
    order: Order = form.save()
    run = send_receipt.using(tags=["demo-shop"]).enqueue(order_id=order.pk)
    order.run_id = run.id
    order.save(update_fields=["run_id"])
    return order
