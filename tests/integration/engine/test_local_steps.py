"""Local steps: a run goes on where their results lie, for as long as it can."""

from __future__ import annotations

import signal
import uuid

import pytest

from holdfast.access.grants import Actor
from queues.models import Entry, Home, Stage
from runs import answers, step
from runs.errors import DeclarationError
from runs.reasons import reasons
from tests.support.processes import Fleet, Process
from tests.support.runs import attempts, run, snapshots, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
ALL = pytest.mark.parametrize("name", ["reads-at-home", "reads-at-home-sync", "reads-at-home-apart"])


def worker_on(fleet: Fleet, host: str, name: str = "") -> Process:
    return fleet.worker(name or f"worker-{host}", HOLDFAST_HOST=host)


def waiting_runs(task: str, count: int, **payload: int) -> list[uuid.UUID]:
    ids = [the(task).enqueue(name=f"file-{number}", **payload).id for number in range(count)]
    for run_id in ids:
        eventually(lambda i=run_id: run(i).status == "waiting", "it waits")
    return ids


def go_on(ids: list[uuid.UUID]) -> None:
    for run_id in ids:
        answers.run_signal(run_id, "on", None, actor=ACTOR)


def completed(ids: list[uuid.UUID]) -> None:
    for run_id in ids:
        eventually(lambda i=run_id: run(i).status == "completed", "it completes")


@ALL
def test_a_run_comes_back_to_the_host_of_its_local_step(homes: Fleet, name: str) -> None:
    first = worker_on(homes, "kelp")
    homes.scheduler()
    ids = waiting_runs(name, 10)
    assert set(Home.objects.values_list("hostname", "pool")) == {("kelp", "default")}
    worker_on(homes, "moss")
    echo = the("echo").enqueue(1)
    echo.result(timeout=60)
    go_on(ids)
    completed(ids)
    assert {entry.words[2] for entry in homes.ledger.entries("read")} == {"kelp"}
    assert homes.ledger.count("fetch") == (10 if name.endswith("sync") else 20), "each once"
    assert first.popen.poll() is None


def test_another_worker_of_the_same_host_goes_on_when_one_dies(homes: Fleet) -> None:
    first = worker_on(homes, "kelp", "worker-1")
    homes.scheduler()
    ids = waiting_runs("reads-at-home", 5)
    worker_on(homes, "moss")
    worker_on(homes, "kelp", "worker-2")
    first.signal(signal.SIGKILL)
    go_on(ids)
    completed(ids)
    assert {entry.words[2] for entry in homes.ledger.entries("read")} == {"kelp"}
    assert not [words for words in homes.ledger.repeated("fetch") if "again" in words]


@ALL
def test_a_host_that_is_gone_is_left_and_only_local_steps_are_called_again(homes: Fleet, name: str) -> None:
    first = worker_on(homes, "kelp")
    homes.scheduler(HOLDFAST_HOST_GRACE="1")
    ids = waiting_runs(name, 3)
    worker_on(homes, "moss")
    first.popen.terminate()
    first.wait()
    go_on(ids)
    completed(ids)
    assert {entry.words[2] for entry in homes.ledger.entries("read")} == {"moss"}
    assert len({e.words for e in homes.ledger.entries("fetch") if e.words[2] == "moss"}) == 3
    assert not homes.ledger.repeated("count"), "what is no local step is not called again"
    for run_id in ids:
        assert "/moss/" in str(run(run_id).output)
        assert [a.status for a in attempts(run_id)] == ["completed"]


def test_a_run_whose_host_is_away_says_what_it_waits_for(homes: Fleet) -> None:
    first = worker_on(homes, "kelp")
    homes.scheduler(HOLDFAST_HOST_GRACE="600")
    [run_id] = waiting_runs("reads-at-home", 1)
    first.popen.terminate()
    first.wait()
    worker_on(homes, "moss")
    go_on([run_id])
    eventually(lambda: _bound(run_id), "it is put aside for kelp")
    found = run(run_id)
    assert reasons([found])[run_id].words == "waits for a worker on kelp, where its local steps' results are"
    assert homes.ledger.count("read") == 0
    worker_on(homes, "kelp", "worker-2")
    completed([run_id])
    assert [s.key for s in snapshots(run_id) if s.kind == "step"] == ["fetch#1", "elsewhere_too#1", "fetch:again"]


def _bound(run_id: uuid.UUID) -> bool:
    return Entry.objects.filter(entry_id=run_id, stage=Stage.BOUND, home="kelp").exists()


@pytest.mark.parametrize("other", [{"transaction": True}, {"safety": "unsafe"}])
def test_what_is_never_called_again_is_not_local(other: dict[str, object]) -> None:
    with pytest.raises(DeclarationError, match="a local step is called again"):

        @step(local=True, **other)  # type: ignore[call-overload]
        def both() -> None: ...


def test_local_is_yes_or_no() -> None:
    with pytest.raises(DeclarationError, match="local is 'here'"):

        @step(local="here")  # type: ignore[call-overload]
        def here() -> None: ...
