"""Forks through real workers: what was finished before the snapshot is kept, what came after is done anew."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access import services as access
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs import answers
from runs.errors import InvalidOption, NotSerializable, OwnTask, UnknownRun, UnknownTask
from runs.forks.services import run_fork
from runs.models import Run
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, run, snapshots, the
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor.local()
NOBODY = uuid.UUID("01900000-0000-7000-8000-000000000000")


@pytest.fixture
def working(retrying: Fleet) -> Iterator[Fleet]:
    retrying.worker("worker-1")
    retrying.scheduler()
    return retrying


@pytest.fixture
def api(db: None) -> Caller:
    _, token = access.token_create(name="all", role="admin", actor=ACTOR)
    return Caller({"Authorization": f"Bearer {token}"})


def said(fleet: Fleet) -> list[str]:
    return [" ".join(entry.words[1:]) for entry in fleet.ledger.entries("said")]


def ended(run_id: uuid.UUID) -> Run:
    all_final([run_id])
    return run(run_id)


def finished(name: str) -> Run:
    return ended(the(name).using(tags=["nightly"], priority=2).enqueue().id)


def test_steps_before_the_snapshot_are_not_called_again_and_those_after_it_are(working: Fleet) -> None:
    old = finished("forks")
    assert [s.key for s in snapshots(old.id)] == ["says#1", "", "says#2", "says#3"]
    new = ended(run_fork(old.id, sequence=3, actor=ACTOR, reason="look again"))
    assert (new.status, new.output) == ("completed", {"said": ["first", "second", "third at 1"], "rate": 1})
    assert said(working) == ["first", "second", "third at 1", "third at 1"]
    assert (new.fork_of, new.fork_sequence, new.replay_of, new.attempt) == (old.id, 3, None, 1)
    assert (new.tags, new.priority, new.payload) == (["nightly"], 2, old.payload)
    kept, own = snapshots(new.id)[:3], snapshots(new.id)[3:]
    assert [(s.sequence, s.key, s.attempt) for s in kept] == [(1, "says#1", 0), (2, "", 0), (3, "says#2", 0)]
    assert [s.attempt for s in own] == [1] * len(own)
    entry = AuditEntry.objects.get(action="runs.fork")
    assert (entry.object_id, entry.reason, entry.after["run"]) == (str(old.id), "look again", str(new.id))
    assert run(old.id).output == old.output, "the old run stays as it is"


def test_the_function_reads_the_edited_state(working: Fleet) -> None:
    old = finished("forks")
    edited = ended(run_fork(old.id, sequence=2, state={"rate": 5}, actor=ACTOR))
    assert edited.output == {"said": ["first", "second", "third at 5"], "rate": 5}
    assert said(working)[3:] == ["second", "third at 5"]
    early = ended(run_fork(old.id, sequence=1, state={"rate": 7}, actor=ACTOR))
    assert early.output == {"said": ["first", "second", "third at 7"], "rate": 7}, "where no state was saved yet, too"
    assert said(working).count("first") == 1
    again = ended(run_fork(edited.id, sequence=2, actor=ACTOR))
    assert again.output == edited.output, "a fork can be forked, with the state that it had"


def test_an_unsafe_step_is_called_again_by_decision_and_never_on_a_guess(working: Fleet) -> None:
    old = finished("forks-unsafe")
    kinds = [(s.sequence, s.kind) for s in snapshots(old.id)]
    assert kinds == [(1, "step"), (2, "intent"), (3, "step"), (4, "step")]
    with pytest.raises(InvalidOption, match="lies within the unsafe step charges#1"):
        run_fork(old.id, sequence=2, actor=ACTOR)
    assert ended(run_fork(old.id, sequence=3, actor=ACTOR)).status == "completed"
    assert working.ledger.count("charged") == 1
    assert ended(run_fork(old.id, sequence=1, actor=ACTOR)).status == "completed"
    assert working.ledger.count("charged") == 2


def test_waits_and_failures_of_earlier_attempts_come_along_and_stay_apart(working: Fleet) -> None:
    handle = the("forks-after-trouble").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "it waits for the signal")
    answers.run_signal(handle.id, "go", 7, actor=ACTOR)
    old = ended(handle.id)
    history = [(s.kind, s.attempt) for s in snapshots(old.id)]
    assert history == [("failure", 1), ("step", 1), ("wait", 2), ("step", 2)]
    forked = run_fork(old.id, sequence=3, actor=ACTOR)
    new = ended(forked)
    assert new.output == ["stumbled", 7, "end"], "the signal is not asked for again"
    assert [s.attempt for s in snapshots(new.id)][:3] == [-1, -1, 0]
    assert [a.number for a in attempts(new.id)] == [1, 2]
    assert said(working).count("stumbled") == 1


def test_a_run_that_is_at_work_can_be_forked_and_goes_on(working: Fleet) -> None:
    handle = the("forks-after-trouble").enqueue()
    eventually(lambda: run(handle.id).status == "waiting", "it waits for the signal")
    new = run_fork(handle.id, sequence=2, actor=ACTOR)
    for run_id in (handle.id, new):
        eventually(lambda of=run_id: run(of).status == "waiting", "it waits")  # type: ignore[misc]
        answers.run_signal(run_id, "go", 1, actor=ACTOR)
    assert {ended(handle.id).status, ended(new).status} == {"completed"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", [0, -1, 9, 10**20, "2", 1.0, True, None, [1]])
def test_what_is_no_snapshot_of_it_is_refused(registered: None, sequence: Any) -> None:
    old = stored.run("failed", "echo")
    stored.snapshots(old, 1, 3)
    with pytest.raises(InvalidOption, match="write the number of one of the run's snapshots, from 1 to 3"):
        run_fork(old.id, sequence=sequence, actor=ACTOR)
    assert Run.objects.count() == 1


def test_other_rounds_empty_histories_states_that_cannot_be_and_strange_tasks_are_refused(registered: None) -> None:
    old = stored.run("failed", "echo", round=2, past=3)
    stored.snapshots(old, 1, 2)
    with pytest.raises(InvalidOption, match="it has none yet: replay it instead"):
        run_fork(old.id, sequence=1, actor=ACTOR)
    stored.snapshots(old, 4, 5)
    with pytest.raises(InvalidOption, match="from 4 to 5"):
        run_fork(old.id, sequence=2, actor=ACTOR)
    new = run(run_fork(old.id, sequence=5, actor=ACTOR))
    assert ([s.sequence for s in snapshots(new.id)], new.round, new.past) == ([1, 2], 2, 0)
    for state in ("a\x00b", float("nan"), object()):
        with pytest.raises(NotSerializable):
            run_fork(old.id, sequence=4, state=state, actor=ACTOR)
    with pytest.raises(InvalidOption, match="priority"):
        run_fork(old.id, sequence=4, options={"priority": 1_000}, actor=ACTOR)
    with pytest.raises(UnknownRun):
        run_fork(NOBODY, sequence=1, actor=ACTOR)
    for name, error in (("gone", UnknownTask), ("holdfast.webhook", OwnTask)):
        strange = stored.run("failed", name)
        stored.snapshots(strange, 1, 1)
        with pytest.raises(error):
            run_fork(strange.id, sequence=1, actor=ACTOR)
    assert AuditEntry.objects.filter(action="runs.fork").count() == 1


# --- page, API, command line ------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_kept_and_what_is_done_anew_and_forks(registered: None) -> None:
    old = stored.run("failed", "echo")
    stored.snapshots(old, 1, 2)
    stored.snapshots(old, 3, 3, kind="checkpoint", name="checkpoint", key="", state={"rate": 1})
    stored.snapshots(old, 4, 5)
    client, path = signed_in("developer"), f"/runs/{old.id}/snapshots/3/fork/"
    page = client.get(path).content.decode()
    assert "Fork after snapshot 3" in page
    assert "&quot;rate&quot;: 1" in page
    assert f'href="{path}"' in client.get(f"/runs/{old.id}/snapshots/3/").content.decode()
    bad = client.post(path, {"state": "{rate", "reason": ""})
    assert bad.status_code == 422
    assert "errorlist" in bad.content.decode()
    assert client.post(path, {"state": '"\\u0000"'}).status_code == 422
    untouched = client.post(path, {"state": '{"rate": 1}', "reason": "same"})
    assert untouched.status_code == 302
    assert AuditEntry.objects.get(action="runs.fork").after["state_edited"] is False
    edited = client.post(path, {"state": '{"rate": 12345678901234567890}'})
    new = Run.objects.get(pk=edited["Location"].split("/")[2])
    assert snapshots(new.id)[2].state == {"rate": 12345678901234567890}
    assert f"after #{3}" in client.get(f"/runs/{new.id}/").content.decode()
    for missing in (f"/runs/{old.id}/snapshots/9/fork/", f"/runs/{NOBODY}/snapshots/1/fork/"):
        assert client.get(missing).status_code == 404
    assert client.get(f"/runs/{old.id}/snapshots/{10**30}/fork/").status_code == 404


def test_a_viewer_sees_and_forks_nothing(registered: None) -> None:
    old = stored.run("failed", "echo")
    stored.snapshots(old, 1, 1)
    client, path = signed_in("viewer"), f"/runs/{old.id}/snapshots/1/fork/"
    assert "needs the role developer" in client.get(path).content.decode()
    assert client.post(path, {}).status_code == 403
    assert "Fork from here" not in client.get(f"/runs/{old.id}/snapshots/1/").content.decode()
    assert Run.objects.count() == 1


def test_the_api_forks(registered: None, api: Caller) -> None:
    old = stored.run("failed", "echo")
    stored.snapshots(old, 1, 2)
    made = api.post(f"/runs/{old.id}/fork", {"sequence": 2, "state": None, "options": {"tags": ["x"]}, "reason": "why"})
    assert made.status_code == 201
    new = made.json()
    assert made["Location"] == f"/api/v1/runs/{new['id']}"
    assert (new["fork_of"], new["fork_sequence"], new["tags"]) == (str(old.id), 2, ["x"])
    assert [(s.kind, s.state) for s in snapshots(uuid.UUID(new["id"]))][2:] == [("checkpoint", None)]
    problem(api.post(f"/runs/{old.id}/fork", {"sequence": 9}), 422, "invalid_option", "sequence")
    problem(api.post(f"/runs/{old.id}/fork", {"sequence": "\x00"}), 422)
    problem(api.post(f"/runs/{old.id}/fork", {}), 422, field="sequence")
    problem(api.post(f"/runs/{NOBODY}/fork", {"sequence": 1}), 404, "unknown_run")


def test_the_command_line_forks(registered: None) -> None:
    old = stored.run("failed", "echo")
    stored.snapshots(old, 1, 2)

    def command(*words: str) -> str:
        out = io.StringIO()
        call_command("runs", "fork", str(old.id), *words, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    assert f"goes on from {old.id} after snapshot 1 and is queued" in command("--at", "1")
    made = json.loads(command("--at", "2", "--state", '{"a": 1}', "--reason", "why", "--json"))
    assert snapshots(uuid.UUID(made["id"]))[2].state == {"a": 1}
    for words in (("--at", "9"), ("--at", "x"), ("--at", "1", "--state", "{")):
        with pytest.raises(CommandError):
            command(*words)
