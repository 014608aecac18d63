"""`manage.py work --min --max` with real worker processes."""

from __future__ import annotations

import os
import re
import signal

import psutil
import pytest
from rq.suspension import resume, suspend

from holdfast.access.grants import Actor
from queues import services
from queues.models import Worker
from queues.tickets import connection
from tests.support.processes import Fleet, Process
from tests.support.proxy import Proxy
from tests.support.runs import all_final, run, statuses, the
from tests.support.waiting import eventually

#: A worker starts in some seconds here, and an increase waits for it.
PATIENCE = 60.0
ONE_THREAD = {"HOLDFAST_THREADS": "1"}


def alive() -> set[int]:
    """Process ids of the workers that take work."""
    found = Worker.objects.filter(stopped_at=None, lost_at=None, draining_at=None)
    return set(found.values_list("pid", flat=True))


def number_of_workers(wanted: int) -> set[int]:
    def enough() -> set[int]:
        found = alive()
        return found if len(found) == wanted else set()

    return eventually(enough, f"{wanted} workers", PATIENCE)


def scaled(fleet: Fleet, *options: str, **environment: str) -> Process:
    return fleet.start("scaled", "work", *options, **{**ONE_THREAD, **environment})


def test_it_grows_under_a_backlog_and_shrinks_after_it(fleet: Fleet) -> None:
    work = scaled(fleet, "--min", "1", "--max", "3", "--cooldown", "1")
    first = number_of_workers(1)
    handles = the("gated").enqueue_many([{"gate": "go"}] * 6)
    assert first < number_of_workers(3)
    eventually(lambda: fleet.ledger.count("waiting") == 3, "each is at work on one", PATIENCE)
    assert re.search(r"1 → 2 workers: [56] runs due, the first waits for ", work.said())
    assert "2 → 3 workers: " in work.said()
    # The third may have taken its run by then, or not.
    said = r"3 workers, and --max allows no more: [34] runs due, the first waits for "
    eventually(lambda: re.search(said, work.said()), "it says so", PATIENCE)
    fleet.ledger.open_gate("go")
    all_final([handle.id for handle in handles])
    number_of_workers(1)
    assert statuses([handle.id for handle in handles]) == {"completed"}
    assert not fleet.ledger.repeated("waiting"), "no run was cut off by a drain"
    assert "3 → 2 workers: nothing has had to wait for 1.0 s" in work.said()
    assert not Worker.objects.exclude(lost_at=None).exists(), "they said goodbye"


def test_a_worker_that_dies_is_replaced_and_a_stop_stops_all(fleet: Fleet) -> None:
    work = scaled(fleet, "--min", "2", "--max", "3", "--cooldown", "1")
    before = number_of_workers(2)
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(alive() - {victim}) == 2, "another one is there", PATIENCE)
    assert "killed by SIGKILL); starting again in 0.2 s" in work.said()
    pids = alive() - {victim}
    handle = the("gated").enqueue("go")
    eventually(lambda: fleet.ledger.count("waiting"), "a run is at work", PATIENCE)
    work.signal(signal.SIGTERM)
    eventually(lambda: Worker.objects.filter(pid__in=pids).exclude(draining_at=None).exists(), "it drains", PATIENCE)
    fleet.ledger.open_gate("go")
    assert work.wait(PATIENCE) == 0
    assert run(handle.id).status == "completed"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert Worker.objects.filter(pid__in=pids, lost_at=None).exclude(stopped_at=None).count() == 2


def test_what_no_worker_could_start_is_no_reason_for_more(fleet: Fleet) -> None:
    """A queue at its limit, one that is paused, and all of them while rq has suspended the workers."""
    work = scaled(fleet, "--max", "3", "--cooldown", "60")
    number_of_workers(1)
    services.queue_pause("narrow", Actor.local(), "deploy")
    the("narrow-job").enqueue_many([{}] * 5)
    suspend(connection())
    handles = the("gated").enqueue_many([{"gate": "go"}] * 4)
    eventually(lambda: "suspended" in rq_states(), "it is suspended", PATIENCE)
    resume(connection())  # what was counted before would show in the words of the first decision
    # The first may have taken its run by then, or not.
    grows = r"1 → 2 workers: [34] runs due"
    eventually(lambda: re.search(grows, work.said()), "it grows when it is resumed", PATIENCE)
    fleet.ledger.open_gate("go")
    all_final([handle.id for handle in handles])


def test_while_postgresql_is_silent_the_number_stays_as_it_is(fleet: Fleet) -> None:
    proxy, url = Proxy.of_postgresql(fleet.environment["DATABASE_URL"])
    with proxy:
        work = scaled(fleet, "--max", "2", DATABASE_URL=url)
        number_of_workers(1)
        proxy.freeze()
        eventually(lambda: "PostgreSQL does not answer (no answer within 5 s)" in work.said(), "it says so", PATIENCE)
        proxy.thaw()
        eventually(lambda: "PostgreSQL is back" in work.said(), "it says so", PATIENCE)
        number_of_workers(1)
        assert work.said().count(" started (pid ") == 1
        work.signal(signal.SIGTERM)
        assert work.wait(PATIENCE) == 0


def rq_states() -> set[str]:
    from rq import Worker as RQWorker

    return {str(worker.get_state()) for worker in RQWorker.all(connection=connection())}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--min", "0", "--max", "4"], "--min 0: write a number of workers from 1 to 256."),
        (["--min", "1", "--max", "-4"], "--max -4: write a number of workers from 1 to 256."),
        (["--max", "257"], "--max 257: write a number of workers from 1 to 256."),
        (["--min", "5", "--max", "4"], "--min 5 is more than --max 4: write the smaller number at --min."),
        (["--min", "x", "--max", "4"], "--min x: write a whole number of workers, as in `--min 4`."),
        (["--min", "1"], "--max is missing: say how many workers there may be at most, as in `--min 1 --max 8`."),
        (["--max", "2", "--cooldown", "soon"], "--cooldown soon: write seconds, as in `--cooldown 60`."),
        (["--max", "2", "--burst"], "--burst is for a single worker: leave it out, or --min and --max."),
        (["--max", "2", "--name", "x"], "--name is for a single worker: leave it out, or --min and --max."),
        (["--name", "n" * 201], f"--name '{'n' * 40}': write 1 to 200 characters of UTF-8."),
        (["--name", "\udcff"], r"--name '\udcff': write 1 to 200 characters of UTF-8."),
    ],
)
def test_nonsense_is_one_line_and_exit_code_2(fleet: Fleet, options: list[str], said: str) -> None:
    process = fleet.start("nonsense", "work", *options)
    assert process.wait(30) == 2
    assert process.said() == f"CommandError: {said}\n"


def test_a_configuration_that_no_worker_can_work_with_ends_it(fleet: Fleet) -> None:
    broken = fleet.ledger.folder / "twice.py"
    broken.write_text("from runs import task\n\n\n@task(id='no spaces')\ndef bad(): ...\n")
    process = scaled(fleet, "--max", "2", HOLDFAST_TASKS=str(broken))
    assert process.wait(PATIENCE) == 2
    assert "worker-1 cannot work with this configuration" in process.said()
    assert "Traceback" not in process.said()
