"""What the demo shop reads."""

from dataclasses import dataclass
from typing import Final

from holdfast.demo.models import Order
from runs.models import Run

RECENT: Final = 20


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order with its run; no run when retention has taken it."""

    order: Order
    run: Run | None


def orders_recent() -> list[OrderRow]:
    """The last orders, newest first."""
    orders = list(Order.objects.all()[:RECENT])
    runs = Run.objects.only("id", "status", "output", "error").in_bulk([o.run_id for o in orders if o.run_id])
    return [OrderRow(order, runs.get(order.run_id)) for order in orders]
