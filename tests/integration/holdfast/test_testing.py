"""The test kit beside the ORM: a run shares the connection, and so the transaction, of the test that executes it."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from holdfast.demo.models import Order
from holdfast.demo.tasks import send_receipt
from holdfast.testing import crash_at, run_inline
from runs import checkpoint, step, task, wait

pytestmark = pytest.mark.django_db


@step(transaction=True)
def place(customer: str) -> int:
    return Order.objects.create(customer=customer, item="kelp").pk


@task(id="kit-place")
def placing(customer: str) -> int:
    order = place(customer)
    wait.sleep(60)
    return order


@task(id="kit-aplace")
async def placing_async(customer: str) -> int:
    order = await place.acall(customer)
    await wait.asleep(60)
    assert await Order.objects.filter(pk=order).aexists()
    return order


def test_a_task_sees_the_rows_of_the_test_and_the_test_those_of_the_task() -> None:
    order = Order.objects.create(customer="ann", item="kelp")
    result = run_inline(send_receipt, order_id=order.pk)
    assert result.output == f"R-{order.pk:06d}: 1 × kelp for ann"
    order.refresh_from_db()
    assert order.receipt == result.output


@pytest.mark.parametrize("placing", [placing, placing_async], ids=["sync", "async"])
@pytest.mark.parametrize("point", ["step-called", "snapshot-written"])
def test_a_step_with_a_transaction_happens_once_wherever_it_dies(placing, point: str) -> None:  # type: ignore[no-untyped-def]
    result = run_inline(placing, customer="bob", crashes=crash_at(point))
    assert result.output == Order.objects.get(customer="bob").pk
    assert result.calls["place"] == (2 if point == "step-called" else 1)


@pytest.mark.parametrize("what", ["wait", "step", "checkpoint"])
def test_what_would_outlive_a_transaction_of_the_task_is_still_refused(what: str) -> None:
    @step(name="kit-writes")
    def writes() -> None:
        Order.objects.create(customer="eve", item="kelp", quantity=1)

    @task(id="kit-holds")
    def holds() -> None:
        with transaction.atomic():
            {"wait": lambda: wait.sleep(60), "step": writes, "checkpoint": lambda: checkpoint({"page": 1})}[what]()

    result = run_inline(holds)
    assert result.error is not None
    assert result.error["type"] == "runs.errors.StepMisuse"
    assert "inside transaction.atomic()" in result.error["message"]
    assert (result.calls["kit-writes"], Order.objects.count()) == (0, 0)
    assert connection.in_atomic_block  # the test's own
