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
    assert the("echo").enqueue("through rqworker").result(timeout=30) == "through rqworker"
    assert Worker.objects.filter(name="by-django-rq", lost_at=None).exists()
    assert [w.name for w in RQWorker.all(connection=connection())] == ["by-django-rq"]


def test_a_burst_does_what_is_there_and_ends(fleet: Fleet) -> None:
    handles = the("echo").enqueue_many([{"value": n} for n in range(50)])
    assert fleet.start("burst", "work", "--burst").wait(60) == 0
    assert {h.refresh().status for h in handles} == {"completed"}


def test_rq_suspend_holds_new_runs_back_until_resume(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    fleet.scheduler()
    the("echo").enqueue(1).result(timeout=20)
    suspend(connection())
    eventually(lambda: not connection().pubsub_channels(channel("default")), "the shift ends", timeout=20)
    handle = the("echo").enqueue(2)
    eventually(lambda: run(handle.id).status == "queued", "it waits")
    resume(connection())
    assert handle.result(timeout=20) == 2


def test_a_worker_that_cannot_load_its_tasks_says_so_in_one_line(fleet: Fleet, tmp_path: object) -> None:
    broken = fleet.ledger.folder / "twice.py"
    broken.write_text("from runs import task\n\n\n@task(id='no spaces')\ndef bad(): ...\n")
    process = fleet.start("broken", "work", HOLDFAST_TASKS=str(broken))
    assert process.wait(30) == 2
    assert "no spaces" in process.said()
    assert "Traceback" not in process.said()
