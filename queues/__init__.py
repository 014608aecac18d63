"""Flow control. Task code imports `Queue` and `Rate` from here; everything else is Holdfast's own."""

from queues.declare import Queue
from queues.rate import Rate

__all__ = ["Queue", "Rate"]
