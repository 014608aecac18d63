"""Flow control. Task code imports `Queue`, `Rate` and `Breaker` from here; everything else is Holdfast's own."""

from queues.breaker import Breaker
from queues.declare import Queue
from queues.rate import Rate

__all__ = ["Breaker", "Queue", "Rate"]
