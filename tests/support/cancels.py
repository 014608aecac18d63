"""A program: a worker's engine that cancels one isolated run, hard, as soon as it is at work, and then stops.

python cancels.py RUN-ID NAME      prints what `cancel_hard` answered: at work, and when the run was over
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from pathlib import Path


def main(run_id: uuid.UUID, name: str) -> None:
    import django

    django.setup()
    from django.db import connections

    from runs import registration
    from runs.engine.engine import Engine
    from runs.engine.limits import Limits

    registration.discover()
    registration.register_all()
    connections.close_all()
    engine = Engine(name="cancels", pools=["default"], limits=Limits.from_settings(), on_fenced=lambda: None)
    engine.start()
    ledger = Path(os.environ["TESTS_LEDGER"])

    def cancel() -> None:
        while not ledger.exists() or f" long {name} " not in ledger.read_text():
            time.sleep(0.02)
        run = engine._runs[run_id]
        sys.__stdout__.write(f"{run.cancel_hard()}\n")
        while engine.in_flight:
            time.sleep(0.02)
        sys.__stdout__.write(f"{run.cancel_hard()}\n")
        sys.__stdout__.flush()

    canceller = threading.Thread(target=cancel, daemon=True)
    canceller.start()
    engine.shift(lambda: not canceller.is_alive())
    engine.stop()


if __name__ == "__main__":
    main(uuid.UUID(sys.argv[1]), sys.argv[2])
