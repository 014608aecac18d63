import pytest
from django.db import transaction

from holdfast.demo.forms import OrderForm
from holdfast.demo.models import Order
from holdfast.demo.services import order_place
from runs import registration
from runs.models import Run
from tests.support import runs
from tests.support.people import signed_in
from tests.support.processes import Fleet


@pytest.fixture(autouse=True)
def known(db: None) -> None:
    """The tasks have their rows, whatever tables an earlier test has emptied."""
    registration.discover()
    registration.register_all()


ORDER = {"customer": "Ada", "item": "kelp", "quantity": "3"}


@pytest.mark.django_db
def test_the_view_stores_the_order_and_its_run_together() -> None:
    response = signed_in("developer").post("/demo/orders/", ORDER)
    assert (response.status_code, response["Location"]) == (302, "/demo/orders/")
    order = Order.objects.get()
    run = Run.objects.get()
    assert order.run_id == run.id
    assert (run.task_id, run.status, run.payload) == ("send-receipt", "queued", {"order_id": order.pk})


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_the_run_back_with_the_order() -> None:
    form = OrderForm(ORDER)
    assert form.is_valid()
    with transaction.atomic():
        order = order_place(form)
        assert Run.objects.filter(pk=order.run_id).exists()
        transaction.set_rollback(True)
    assert not Order.objects.exists()
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_a_wrong_order_stores_neither_and_says_what_is_wrong() -> None:
    response = signed_in("developer").post("/demo/orders/", ORDER | {"quantity": "many"})
    assert response.status_code == 422
    assert "Enter a whole number" in response.content.decode()
    assert not Order.objects.exists()
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_who_may_not_enqueue_may_look_but_not_order() -> None:
    client = signed_in("viewer")
    assert "needs the role developer" in client.get("/demo/orders/").content.decode()
    assert client.post("/demo/orders/", ORDER).status_code == 403
    assert not Order.objects.exists()


def test_the_page_shows_what_the_worker_made(fleet: Fleet) -> None:
    client = signed_in("developer")
    client.post("/demo/orders/", ORDER)
    order = Order.objects.get()
    assert order.run_id is not None
    assert "not yet" in client.get("/demo/orders/").content.decode()
    fleet.worker("shop", HOLDFAST_DEMO="1")
    runs.all_final([order.run_id])
    page = client.get("/demo/orders/rows/").content.decode()
    assert f"R-{order.pk:06d}: 3 × kelp for Ada" in page
    assert 'data-status="completed"' in page
