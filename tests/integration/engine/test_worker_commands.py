"""The worker as RQ and django-rq know it."""

from __future__ import annotations

from rq import Worker as RQWorker
from rq.suspension import resume, suspend

from queues.models import Worker
from queues.tickets import channel, connection
from tests.support.processes import Fleet
from tests.support.runs import run, the
from tests.support.waiting import eventually


def test_django_rq_finds_the_worker_class_and_its_command_serves_runs(fleet: Fleet) -> None:
    fleet.start("rqworker", "rqworker", "default", "--name", "by-django-rq")
    assert the("echo").enqueue("through rqworker").result(timeout=60) == "through rqworker"
    assert Worker.objects.filter(name="by-django-rq", lost_at=None).exists()
    assert [w.name for w in RQWorker.all(connection=connection())] == ["by-django-rq"]


def test_a_burst_does_what_is_there_and_ends(fleet: Fleet) -> None:
    handles = the("echo").enqueue_many([{"value": n} for n in range(50)])
    assert fleet.start("burst", "work", "--burst").wait(60) == 0
    assert {h.refresh().status for h in handles} == {"completed"}


def test_a_worker_of_the_longest_name_does_its_work(fleet: Fleet) -> None:
    handle, name = the("echo").enqueue(7), "é" * 200
    process = fleet.start("burst", "work", "--burst", "--name", name)
    assert process.wait(60) == 0, process.said()
    assert run(handle.id).output == 7
    assert Worker.objects.filter(name=name, lost_at=None).exists()


def test_rq_suspend_holds_new_runs_back_until_resume(fleet: Fleet) -> None:
    fleet.pair()
    the("echo").enqueue(1).result(timeout=60)
    suspend(connection())
    eventually(lambda: not connection().pubsub_channels(channel("default")), "the shift ends")
    handle = the("echo").enqueue(2)
    eventually(lambda: run(handle.id).status == "queued", "it waits")
    resume(connection())
    assert handle.result(timeout=60) == 2


def state_of(name: str) -> str:
    """How RQ lists the worker."""
    return next((w.get_state() for w in RQWorker.all(connection=connection()) if w.name == name), "gone")


def test_runs_go_on_while_rq_suspends_the_worker_and_nothing_new_begins(fleet: Fleet) -> None:
    fleet.worker("worker-1", HOLDFAST_THREADS="2")
    gated, waiting = the("gated"), the("echo-sync")
    running = [gated.enqueue("a"), gated.enqueue("b")]
    eventually(lambda: fleet.ledger.count("waiting") == 2, "both threads are taken")
    left = waiting.enqueue(1)
    suspend(connection())
    eventually(lambda: state_of("worker-1") == "suspended", "the worker is suspended")
    fleet.ledger.open_gate("a")
    assert running[0].result(timeout=60) == "a"
    assert run(left.id).status == "queued", "a thread is free, and nothing new is leased"
    resume(connection())
    assert left.result(timeout=20) == 1
    fleet.ledger.open_gate("b")
    assert running[1].result(timeout=60) == "b"


def test_what_was_enqueued_while_suspended_goes_on_after_resume_without_a_scheduler(fleet: Fleet) -> None:
    """A worker that waits for a ticket does not see that it was suspended until one comes, and that one is spent."""
    fleet.worker("worker-1")
    eventually(lambda: state_of("worker-1") == "idle", "it waits for a ticket")
    suspend(connection())
    handle = the("echo").enqueue(1)
    eventually(lambda: state_of("worker-1") == "suspended", "the worker is suspended")
    assert run(handle.id).status == "queued"
    resume(connection())
    assert handle.result(timeout=20) == 1


def test_a_burst_leaves_everything_where_it_is_while_rq_suspends(fleet: Fleet) -> None:
    suspend(connection())
    handle = the("echo").enqueue(1)
    assert fleet.start("burst", "work", "--burst").wait(60) == 0
    assert run(handle.id).status == "queued"
    resume(connection())


def test_a_worker_that_cannot_load_its_tasks_says_so_in_one_line(fleet: Fleet, tmp_path: object) -> None:
    broken = fleet.ledger.folder / "twice.py"
    broken.write_text("from runs import task\n\n\n@task(id='no spaces')\ndef bad(): ...\n")
    process = fleet.start("broken", "work", HOLDFAST_TASKS=str(broken))
    assert process.wait(30) == 2
    assert "no spaces" in process.said()
    assert "Traceback" not in process.said()
