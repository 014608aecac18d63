"""`manage.py workers list|drain`."""

from dataclasses import asdict
from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from queues.draining import WorkerNotFound, worker_drain
from queues.errors import QueueError
from queues.workers import AliveWorker, workers_alive


class Command(VerbCommand):
    help = "Shows who works, and lets workers finish what they have and leave."
    mistakes: ClassVar = (QueueError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show the workers that are alive.")
        drain = verbs.add_parser("drain", help="Let a worker finish what it has, and leave.")
        drain.add_argument("name", help="Its name, or its number.")
        drain.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        found = workers_alive()
        if options["json"]:
            self.json([asdict(worker) for worker in found])
        elif found:
            self.table([("NUMBER", "WORKER", "HOST", "RUNNING", "STATE", "POOLS"), *map(_row, found)])
        else:
            self.stdout.write("No worker is alive. Start one: manage.py work")

    def do_drain(self, options: dict[str, Any]) -> None:
        """All workers of a name: it is a person's to choose, and two hosts may have one each."""
        asked = options["name"]
        found = [worker for worker in workers_alive() if asked in (worker.name, str(worker.id))]
        if not found:
            raise WorkerNotFound(f"No worker {asked!r:.110} is alive. `manage.py workers list` shows who is.")
        names = [worker_drain(worker.id, Actor.local(), options["reason"]) for worker in found]
        if options["json"]:
            self.json([{"id": worker.id, "name": worker.name} for worker in found])
        else:
            self.stdout.write(f"{', '.join(names)}: finishes what is at work, and leaves.")


def _row(worker: AliveWorker) -> tuple[str, ...]:
    state = "silent" if worker.silent else "draining" if worker.draining_at else "alive"
    running = f"{worker.running} of {worker.capacity}"
    return str(worker.id), worker.name, worker.hostname, running, state, ", ".join(worker.pools)
