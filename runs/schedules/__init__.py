"""Schedules: runs that begin by the clock. `declare.py` is what code says, `ticks.py` when that is, `firing.py` begins
the runs, `services.py` is what people do."""
