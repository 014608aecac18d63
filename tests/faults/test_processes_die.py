"""Fault 6: the process of an isolated run dies, hangs or is killed; that attempt fails, and the shift goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from queues.models import Lease, Worker
from tests.support.processes import CANCELS, Fleet, Process
from tests.support.runs import all_final, attempts, lines, run, statuses, the
from tests.support.waiting import eventually


@pytest.fixture
def worked(isolated: Fleet) -> Fleet:
    """One worker and the scheduler."""
    isolated.worker("worker-1", HOLDFAST_PROCESSES="4")
    isolated.scheduler()
    return isolated


def gone(pid: int) -> bool:
    """A zombie is gone: whoever inherited it will look."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def pid_of(fleet: Fleet, name: str) -> int:
    """The process in which the run `name` is at work."""
    return eventually(lambda: [e.pid for e in fleet.ledger.entries("long", name)], f"{name} is at work")[-1]


def test_fault_6_a_segfault_fails_its_attempt_names_the_signal_and_the_shift_goes_on(worked: Fleet) -> None:
    beside = [the(name).enqueue(12, 0.1).id for name in ("wall", "dam")] + [the("long-apart").enqueue("beside").id]
    pid_of(worked, "beside")
    handle = the("segfaults").enqueue(2)
    all_final([handle.id])

    assert run(handle.id).status == "failed"
    errors = [a.error for a in attempts(handle.id)]
    assert [a.status for a in attempts(handle.id)] == ["failed", "failed"]
    for error in errors:
        assert error["type"] == "runs.errors.ProcessDied"
        assert "ended by SIGSEGV" in error["message"]
        assert (error["exit"]["signal"], error["exit"]["exit_code"]) == ("SIGSEGV", None)
        assert error["exit"]["peak_memory"] > 2**20
    assert errors[0]["fingerprint"] == errors[1]["fingerprint"]
    assert "last words" in [line.message for line in lines(handle.id)]
    worked.ledger.open_gate("beside")
    all_final(beside)
    assert statuses(beside) == {"completed"}
    assert {a.number for run_id in beside for a in attempts(run_id)} == {1}
    assert worked.processes[0].popen.poll() is None


def test_fault_6_a_finished_step_is_not_repeated_after_its_process_died(worked: Fleet) -> None:
    handle = the("segfaults").enqueue(1)
    assert handle.result(timeout=20) == 2
    assert [a.status for a in attempts(handle.id)] == ["failed", "completed"]
    assert worked.ledger.count("stone", str(handle.id)) == 1


def test_fault_6_a_coroutine_that_segfaults_fails_the_same_way(worked: Fleet) -> None:
    handle = the("segfaults-async").enqueue()
    all_final([handle.id])
    assert attempts(handle.id)[0].error["exit"]["signal"] == "SIGSEGV"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_fault_6_a_process_that_is_killed_fails_its_attempt_with_the_signals_name(worked: Fleet, number: int) -> None:
    handle = the("signalled").enqueue(int(number))
    all_final([handle.id])
    assert run(handle.id).status == "failed"
    assert attempts(handle.id)[0].error["exit"]["signal"] == signal.Signals(number).name


def test_fault_6_a_process_that_exits_on_its_own_fails_its_attempt_with_the_exit_code(worked: Fleet) -> None:
    handle = the("exits-hard").enqueue()
    all_final([handle.id])
    error = attempts(handle.id)[0].error
    assert error["exit"]["exit_code"] == 7
    assert "exit code 7" in error["message"]


def test_fault_6_hogs_and_hangs_end_and_others_proceed_meanwhile(worked: Fleet) -> None:
    bad = {name: the(name).enqueue().id for name in ("hog", "deaf", "computes")}
    good = [the(name).enqueue(10, 0.1).id for name in ("wall", "dam") * 3]
    all_final([*bad.values(), *good])
    assert {name: run(run_id).status for name, run_id in bad.items()} == {
        "hog": "failed",
        "deaf": "timed_out",
        "computes": "timed_out",
    }
    assert statuses(good) == {"completed"}
    assert not Lease.objects.exists()


def test_fault_6_a_killed_worker_leaves_no_process_behind(isolated: Fleet) -> None:
    victim = isolated.worker("worker-1")
    handles = [the("long-apart").enqueue("held").id, the("long-apart-async").enqueue("held").id]
    eventually(lambda: isolated.ledger.count("long", "held") == 2, "both are at work")
    family = psutil.Process(victim.pid).children(recursive=True)
    assert len(family) == 4, "the keeper, the fork server and two runs"
    victim.signal(signal.SIGKILL)
    eventually(lambda: all(gone(p.pid) for p in family), "all of them are gone")

    isolated.worker("worker-2")
    isolated.ledger.open_gate("held")
    all_final(handles)
    assert statuses(handles) == {"completed"}
    for run_id in handles:
        assert [a.status for a in attempts(run_id)] == ["crashed", "completed"]
    assert isolated.ledger.repeated("stone") == []
    assert isolated.ledger.repeated("brick") == []


def test_what_a_process_started_and_left_ends_with_it(worked: Fleet) -> None:
    pid = the("starts-a-program").enqueue().result(timeout=20)
    eventually(lambda: gone(pid), "its program is gone")


def servers(worker: Process) -> tuple[psutil.Process, psutil.Process]:
    """The keeper and the fork server of a worker."""
    (keeper,) = psutil.Process(worker.pid).children()
    (server,) = keeper.children()
    return keeper, server


def test_a_fork_server_that_dies_fails_the_runs_it_had_and_is_started_again(worked: Fleet) -> None:
    worker = worked.processes[0]
    beside = the("dam").enqueue(20, 0.1)
    handle = the("long-apart").enqueue("orphan")
    child = pid_of(worked, "orphan")
    _, server = servers(worker)
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: gone(child), "the kernel ends its children")
    worked.ledger.open_gate("orphan")
    assert handle.result(timeout=20) == "orphan"
    first, second = attempts(handle.id)
    assert (first.status, second.status) == ("failed", "completed")
    assert "fork server" in first.error["message"]
    assert worked.ledger.repeated("stone") == []
    assert servers(worker)[1].pid != server.pid
    assert beside.result(timeout=20)
    assert [a.number for a in attempts(beside.id)] == [1], "the worker itself went on"


def test_a_worker_whose_keeper_dies_ends_and_others_take_its_runs(worked: Fleet) -> None:
    worker = worked.processes[0]
    handle = the("long-apart").enqueue("unkept")
    child = pid_of(worked, "unkept")
    os.kill(servers(worker)[0].pid, signal.SIGKILL)
    assert worker.wait() == 70
    eventually(lambda: gone(child), "the kernel ends it")
    worked.worker("worker-2")
    worked.ledger.open_gate("unkept")
    assert handle.result(timeout=20) == "unkept"
    assert [a.status for a in attempts(handle.id)] == ["crashed", "completed"]


@pytest.mark.parametrize("boundary", [True, False])
def test_isolated_runs_are_handed_over_when_the_worker_stops(isolated: Fleet, boundary: bool) -> None:
    """At a step boundary where there is one; otherwise their process is ended."""
    worker = isolated.worker("worker-1", HOLDFAST_GRACE="1")
    sync = the("long-apart").enqueue("left", boundary)
    coroutine = the("long-apart-async").enqueue("left")
    eventually(lambda: isolated.ledger.count("long", "left") == 2, "both are at work")
    pids = [e.pid for e in isolated.ledger.entries("long", "left")]
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    eventually(lambda: all(gone(pid) for pid in pids), "the kernel has ended them")
    assert statuses([sync.id, coroutine.id]) == {"queued"}
    assert not Lease.objects.exists()
    assert Worker.objects.get(name="worker-1").stopped_at is not None
    assert isolated.ledger.count("tidied", "left") == 1, "a coroutine's finally clauses ran"

    isolated.worker("worker-2")
    isolated.ledger.open_gate("left")
    all_final([sync.id, coroutine.id])
    assert [a.status for a in attempts(sync.id) + attempts(coroutine.id)] == ["completed"] * 2, "the same attempts"
    assert isolated.ledger.count("stone", str(sync.id), "before") == 1


@pytest.mark.parametrize("name", ["long-apart", "long-apart-async"])
def test_a_hard_cancel_ends_a_run_at_once_and_frees_its_slot(isolated: Fleet, name: str) -> None:
    """By the engine's own method, in a worker process that is told to call it."""
    handle = the(name).enqueue("cancelled")
    ended = subprocess.run(
        [sys.executable, "-P", str(CANCELS), str(handle.id), "cancelled"],
        env=isolated.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert run(handle.id).status == "cancelled"
    assert [a.status for a in attempts(handle.id)] == ["cancelled"]
    assert gone(pid_of(isolated, "cancelled"))
    assert not Lease.objects.exists()
    assert ended.stdout.split() == ["True", "False"], "it had a process to end, and has none after its end"


def test_a_fenced_worker_ends_its_processes_and_they_write_nothing(isolated: Fleet) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    victim = isolated.worker("worker-frozen", **quick)
    handle = the("long-apart").enqueue("thaw")
    child = pid_of(isolated, "thaw")
    victim.signal(signal.SIGSTOP)
    isolated.worker("worker-rescuer", **quick)
    eventually(lambda: isolated.ledger.count("long", "thaw") == 2, "it goes on elsewhere")
    isolated.ledger.open_gate("thaw")
    assert handle.result(timeout=20) == "thaw"
    victim.signal(signal.SIGCONT)
    assert victim.wait() == 3
    eventually(lambda: gone(child), "its process is ended")
    assert [a.status for a in attempts(handle.id)] == ["crashed", "completed"]
    assert run(handle.id).output == "thaw"
