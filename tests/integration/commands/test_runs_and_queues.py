"""`enqueue`, `runs` and `queues`: what they do, what they print, and how they say that the user erred."""

import io
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access.models import AuditEntry
from queues.models import Queue
from runs.models import LogLine, Run, Snapshot
from tests.support.processes import ROOT, TASKS

NOBODY = "01900000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def _known(db: None, settings: Any) -> None:
    from runs import registration

    settings.HOLDFAST_TASKS = [str(TASKS)]
    registration.discover()
    registration.register_all()


def said(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def answered(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def mistake(*words: str, code: int = 2) -> str:
    """The one line that a mistake is."""
    with pytest.raises(CommandError) as caught:
        said(*words)
    assert caught.value.returncode == code
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def test_enqueue_starts_a_run_with_its_options() -> None:
    run = answered("enqueue", "typed", '{"count": 3}', "--tag", "a", "--tag", "b", "--priority", "-4", "--delay", "60")
    assert (run["task"], run["status"], run["payload"], run["tags"]) == ("typed", "scheduled", {"count": 3}, ["a", "b"])
    assert run["priority"] == -4
    assert said("enqueue", "echo").split()[0] == str(Run.objects.order_by("-id")[0].id)


def test_enqueue_with_a_key_says_that_it_was_there_before() -> None:
    first = said("enqueue", "echo", "{}", "--idempotency-key", "k").split()[0]
    again = said("enqueue", "echo", "{}", "--idempotency-key", "k")
    assert again.split()[0] == first
    assert "before" in again


def test_enqueue_reads_a_payload_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"count": 9}')))
    assert answered("enqueue", "typed", "-")["payload"] == {"count": 9}


def test_enqueue_starts_a_run_of_each_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text('{"payload": {"count": 1}}\n{"payload": {"count": 2}, "options": {"priority": 3}}\n')
    assert said("enqueue", "typed", "--lines", str(file)) == "2 lines: 2 new runs of typed, 0 refused.\n"
    assert [(r.payload, r.priority) for r in Run.objects.order_by("id")] == [({"count": 1}, 0), ({"count": 2}, 3)]
    file.write_text('{"payload": {"count": "x"}}\n{"payload": {"count": 3}}\n')
    assert "1 lines were refused" in mistake("enqueue", "typed", "--lines", str(file), code=1)
    assert Run.objects.count() == 3
    assert "No such file" in mistake("enqueue", "typed", "--lines", str(tmp_path / "nothing"))


def test_an_event_starts_its_runs() -> None:
    found = answered("emit", "order.paid", '{"number": 1, "text": "x"}', "--idempotency-key", "k")
    assert [item["task"] for item in found["items"]] == ["announces", "counts-orders"]
    assert said("emit", "order.paid", '{"number": 1, "text": "x"}', "--idempotency-key", "k").startswith(
        found["items"][0]["id"]
    )
    assert "No task subscribes" in said("emit", "nobody.listens")
    assert "payload.text" in mistake("emit", "order.paid", '{"number": 1}')
    assert "not JSON" in mistake("emit", "order.paid", "{")


def test_endpoints_are_made_shown_changed_and_deleted() -> None:
    assert "no endpoint yet" in said("endpoints", "list")
    made = said("endpoints", "create", "crm", "https://example.org/in", "--event", "run.failed")
    assert "whsec_" in made
    assert "run.failed" in said("endpoints", "list")
    assert answered("endpoints", "set", "crm", "--task", "echo", "--task", "typed")["tasks"] == ["echo", "typed"]
    assert "told nothing" in said("endpoints", "pause", "crm")
    assert answered("endpoints", "resume", "crm")["enabled"]
    assert answered("endpoints", "rotate", "crm")["secret"] not in made
    assert answered("endpoints", "test", "crm")["run_id"] == str(Run.objects.get().id)
    assert "events" in mistake("endpoints", "set", "crm", "--event", "run.ended")
    assert "nothing to change" in mistake("endpoints", "set", "crm")
    said("endpoints", "delete", "crm", "--reason", "over")
    assert "no endpoint 'crm'" in mistake("endpoints", "delete", "crm")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("typd", "{}"), "typed"),
        (("typed", "{"), "not JSON"),
        (("typed", '{"count": NaN}'), "count"),
        (("typed", "[]"), "payload"),
        (("typed", '{"count": "x"}'), "payload.count"),
        (("typed", '{"count": 1}', "--priority", "1000"), "priority"),
        (("typed", '{"count": 1}', "--run-after", "later"), "run_after"),
        (("typed", '{"count": 1}', "--queue", "narow"), "narrow"),
        (("typed", '{"count": 1}', "--idempotency-key", ""), "idempotency_key"),
        (("typed", "\udcff"), "not UTF-8"),
    ],
)
def test_a_mistake_in_enqueue_is_one_line_that_names_it_and_nothing_is_stored(
    words: tuple[str, ...], says: str
) -> None:
    assert says in mistake("enqueue", *words)
    assert not Run.objects.exists()


def test_runs_are_searched_and_a_search_that_cannot_be_read_is_shown_with_a_caret() -> None:
    ids = [answered("enqueue", "echo", json.dumps({"value": n}), "--tag", "x")["id"] for n in range(3)]
    assert [r["id"] for r in answered("runs", "list", "--search", "ech payload.value:>0 tag:x")["items"]] == ids[:0:-1]
    assert [r["id"] for r in answered("runs", "list", "--search", "payload.value:0", "--tag", "x")["items"]] == ids[:1]
    assert said("runs", "list", "--search=-task:echo") == "No run fits.\n"
    with pytest.raises(CommandError) as caught:
        said("runs", "list", "--search", "tag:x stauts:failed")
    assert caught.value.returncode == 2
    assert str(caught.value).splitlines() == [
        "The search cannot be read.",
        "  tag:x stauts:failed",
        "        ^^^^^^^ is no term; did you mean status:?",
    ]
    assert "is no run id" in mistake("runs", "list", "--search", "tag:x", "--parent", "5")


def test_runs_are_listed_filtered_and_paged() -> None:
    ids = [answered("enqueue", "echo", json.dumps({"value": n}))["id"] for n in range(5)]
    said("runs", "cancel", ids[0], ids[1])
    listing = answered("runs", "list", "--limit", "2")
    assert [r["id"] for r in listing["items"]] == [ids[4], ids[3]]
    assert [r["id"] for r in answered("runs", "list", "--cursor", listing["next"])["items"]] == [ids[2], ids[1], ids[0]]
    assert [r["id"] for r in answered("runs", "list", "--status", "cancelled")["items"]] == [ids[1], ids[0]]
    lines = said("runs", "list", "--status", "cancelled", "--task", "echo").splitlines()
    assert lines[0].split() == ["RUN", "STATUS", "CREATED", "(UTC)", "QUEUE", "TASK"]
    assert lines[1].split()[:2] == [ids[1], "cancelled"]
    assert said("runs", "list", "--queue", "narrow").strip() == "No run fits."
    assert "status" in mistake("runs", "list", "--status", "done")
    assert "limit" in mistake("runs", "list", "--limit", "0")
    assert "cursor" in mistake("runs", "list", "--cursor", "x")


def test_a_run_is_shown_with_its_snapshots() -> None:
    run_id = answered("enqueue", "echo", '{"value": "ü"}')["id"]
    now = datetime.now(UTC)
    Snapshot.objects.create(
        id=1, run_id=run_id, sequence=1, kind="checkpoint", name="checkpoint", key="c#1", attempt=1,
        state={"half": True}, started_at=now, finished_at=now,
    )  # fmt: skip
    assert answered("runs", "show", run_id)["snapshots"][0]["state"] == {"half": True}
    text = said("runs", "show", run_id)
    assert '{"value": "ü"}' in text
    assert '{"half": true}' in text
    assert NOBODY in mistake("runs", "show", NOBODY)
    assert "UUID" in mistake("runs", "show", "5")


def test_tail_prints_a_runs_lines_and_ends_with_it() -> None:
    run_id = answered("enqueue", "echo")["id"]
    for number, level in enumerate((logging.DEBUG, logging.INFO, logging.ERROR), 1):
        LogLine.objects.create(
            sequence=number, run_id=run_id, at=datetime.now(UTC), level=level, message=f"line {number}", attempt=1,
            fields={"n": number}, step="s#1",
        )  # fmt: skip
    text = said("runs", "tail", run_id, "--no-follow", "--level", "info")
    assert [line.split("] ")[1] for line in text.splitlines()] == ['line 2  {"n": 2}', 'line 3  {"n": 3}']
    for asked in (["--search", "LINE 2"], ["--search", "n=2"]):
        assert said("runs", "tail", run_id, "--no-follow", *asked).count("line ") == 1
    assert said("runs", "tail", run_id, "--no-follow", "--step", "s", "--attempt", "1").count("line ") == 3
    assert said("runs", "tail", run_id, "--no-follow", "--since", "2999-01-01T00:00:00Z") == ""
    assert "time like" in mistake("runs", "tail", run_id, "--since", "tomorrow")
    said("runs", "cancel", run_id)
    lines = said("runs", "tail", run_id, "--json").splitlines()
    assert [json.loads(line)["level"] for line in lines] == ["debug", "info", "error"]


def test_runs_are_cancelled_and_retried_with_an_audit_row() -> None:
    run_id = answered("enqueue", "echo")["id"]
    assert answered("runs", "cancel", run_id, "--reason", "not now")["status"] == "cancelled"
    assert "cancelled" in mistake("runs", "cancel", run_id)
    assert answered("runs", "retry", run_id)["status"] == "queued"
    assert NOBODY in mistake("runs", "retry", NOBODY)
    rows = AuditEntry.objects.filter(object_id=run_id).order_by("id")
    assert [(r.action, r.actor_kind, r.reason) for r in rows] == [
        ("runs.cancel", "local", "not now"),
        ("runs.retry", "local", ""),
    ]


def test_queues_are_listed_with_what_is_in_them() -> None:
    said("enqueue", "narrow-job")
    listing = {q["name"]: q for q in answered("queues", "list")}
    assert (listing["narrow"]["depth"], listing["narrow"]["concurrency_limit"]) == (1, 3)
    lines = said("queues", "list", "--search", "narr").splitlines()
    assert [line.split() for line in lines] == [
        ["QUEUE", "POOL", "LIMIT", "RATE", "RUNNING", "WAITING", "LATER"],
        ["narrow", "default", "3", "–", "0", "1", "0"],
    ]
    assert said("queues", "list", "--search", "xyz").strip() == "There is no such queue."


def test_all_queues_are_listed_not_only_a_page() -> None:
    Queue.objects.bulk_create(Queue(name=f"tenant-{n:03}") for n in range(250))
    assert len(answered("queues", "list", "--search", "tenant")) == 250


def test_a_limit_is_set_and_taken_back() -> None:
    assert answered("queues", "set", "narrow", "--concurrency-limit", "7")["concurrency_limit"] == 7
    assert "7*" in said("queues", "list", "--search", "narrow")  # the star: a person's edit
    assert answered("queues", "set", "narrow", "--concurrency-limit", "none")["concurrency_limit"] is None
    back = answered("queues", "set", "narrow", "--concurrency-limit", "declared", "--reason", "over")
    assert (back["concurrency_limit"], back["limit_edited"]) == (3, False)
    for wrong in ("0", "-1", "x", "1.5", "1000001", "9" * 5000):
        assert "concurrency" in mistake("queues", "set", "narrow", f"--concurrency-limit={wrong}")
    assert "narrow" in mistake("queues", "set", "narow", "--concurrency-limit", "5")


def test_a_rate_is_set_and_taken_back() -> None:
    assert answered("queues", "set", "narrow", "--rate", "10 per minute")["rate"] == {"amount": 10, "per": 60.0}
    assert "10 per minute*" in said("queues", "list", "--search", "narrow")
    assert answered("queues", "set", "narrow", "--rate", "none")["rate"] is None
    assert answered("queues", "set", "narrow", "--key-concurrency-limit", "2")["key_concurrency_limit"] == 2
    assert answered("queues", "set", "narrow", "--key-concurrency-limit", "declared")["key_limit_edited"] is False
    assert "--key-concurrency-limit" in mistake("queues", "set", "narrow", "--key-concurrency-limit", "0x")
    assert answered("queues", "set", "narrow", "--key-weights", "gold=3", "tin=2")["key_weights"]["gold"] == 3
    assert answered("queues", "set", "narrow", "--key-weights", "none")["key_weights"] == {}
    assert answered("queues", "set", "narrow", "--key-weights", "declared")["key_weights_edited"] is False
    assert "--key-weights" in mistake("queues", "set", "narrow", "--key-weights", "gold")
    assert "--key-weights" in mistake("queues", "set", "narrow", "--key-weights", "gold=101")
    assert answered("queues", "set", "narrow", "--rate", "declared")["rate_edited"] is False
    assert "write a rate such as" in mistake("queues", "set", "narrow", "--rate", "ten")
    assert "nothing to change" in mistake("queues", "set", "narrow")


def test_a_queue_is_paused_and_resumed() -> None:
    assert "paused" in said("queues", "pause", "narrow", "--reason", "supplier is down")
    assert "supplier is down" in said("queues", "list")
    assert answered("queues", "resume", "narrow")["paused"] is False
    assert "drains until" in said("queues", "pause", "narrow", "--drain", "--seconds", "90")
    assert answered("queues", "undo", "narrow")["paused"] is False
    assert "seconds" in mistake("queues", "pause", "narrow", "--seconds", "0")
    assert "narrow" in mistake("queues", "pause", "narow")


@pytest.mark.parametrize("words", [("runs",), ("runs", "shew"), ("queues",), ("queues", "set", "narrow")])
def test_a_wrong_word_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        said(*words)


@pytest.mark.django_db(transaction=True)
def test_from_a_shell_a_mistake_is_one_line_on_stderr_and_exit_code_2(child_environment: dict[str, str]) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *words],
            env={**child_environment, "HOLDFAST_TASKS": str(TASKS)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    good = run("enqueue", "echo", '{"value": 1}', "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["status"] == "queued"
    bad = run("enqueue", "typed", '{"count": "many"}')
    assert (bad.returncode, bad.stdout) == (2, "")
    assert len(bad.stderr.splitlines()) == 1
    assert "payload.count" in bad.stderr
    assert run("runs", "show", "5").returncode == 2
