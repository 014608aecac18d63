"""Alerts: rules that are looked at each minute, and who is told when they fire. `rules.py` and `series.py` are pure,
`measuring.py` reads what is measured, `evaluating.py` is the scheduler's part, `services.py` and `channels.py` are what
people do, `delivering.py` tells."""
