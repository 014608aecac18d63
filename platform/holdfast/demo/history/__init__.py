"""Weeks of history that never happened, for a look around, screenshots and tests: see `plan.py`."""
