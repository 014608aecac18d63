"""Flow control. Task code imports `Queue` from here; everything else is Holdfast's own."""

from queues.declare import Queue

__all__ = ["Queue"]
