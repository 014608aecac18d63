"""`bulk`: what it begins, follows, prints, and how it says that the user erred."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from runs.bulk.model import BulkItem, BulkJob
from tests.integration.commands.test_runs_and_queues import NOBODY, _known, answered, mistake, said  # noqa: F401
from tests.support import stored
from tests.support.processes import Fleet


def failed(count: int) -> list[str]:
    return [str(stored.run("failed", "echo", age=600 - n, error=stored.error()).id) for n in range(count)]


class Answers(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_job_is_followed_to_its_end_and_says_what_became_of_the_runs(fleet: Fleet) -> None:
    ids = [*failed(3), str(stored.run("completed", "echo").id)]
    fleet.worker("worker-1")
    text = said("bulk", "retry", *[word for run_id in ids for word in ("--id", run_id)], "--yes", "--reason", "again")
    job = BulkJob.objects.get()
    lines = text.splitlines()
    assert lines[0] == f"{job.id} is completed: 3 of 4 runs retried, 1 skipped, 0 failed, 0 left."
    assert lines[1].split(maxsplit=1)[1] == "skipped: is completed, cannot be retried"
    assert job.actor["kind"] == "local"
    shown = answered("bulk", "show", str(job.id))
    assert (shown["done"], shown["skipped"], shown["reason"]) == (3, 1, "again")
    assert "retry 4" in said("bulk", "list")
    items = answered("bulk", "items", str(job.id), "--outcome", "skipped")
    assert [item["run_id"] for item in items["items"]] == [ids[-1]]


def test_it_asks_before_with_the_count_and_does_nothing_on_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    failed(2)
    monkeypatch.setattr(sys, "stdin", Answers("n\n"))
    text = said("bulk", "retry", "--search", "task:echo")
    assert text.startswith("2 runs that fit 'task:echo status:failed,cancelled")
    assert "will be retried. Go on? [y/N]" in text
    assert not BulkJob.objects.exists()
    monkeypatch.setattr(sys, "stdin", Answers("y\n"))
    said("bulk", "retry", "--search", "task:echo", "--canary", "--no-follow")
    assert (BulkJob.objects.get().pace, BulkItem.objects.count()) == ("canary", 2)


def test_a_dry_run_says_what_is_meant_and_does_nothing() -> None:
    failed(2)
    assert said("bulk", "cancel", "--search", "status:failed", "--dry-run") == (
        "2 runs that fit 'status:failed' would be cancelled.\n"
    )
    told = answered("bulk", "replay", "--search", "task:echo", "--dry-run")
    assert (told["runs"], told["exact"], told["action"]) == (2, True, "replay")
    assert not BulkJob.objects.exists()


def test_next_attempts_are_put_off_by_so_many_seconds() -> None:
    stored.run("retrying", "echo")
    job: Any = answered("bulk", "postpone", "--search", "task:echo", "--delay", "7200", "--yes")
    assert (job["action"], job["delay"], job["total"]) == ("postpone", 7200, 1)
    assert "1 run that fit 'status:retrying' would be put off" in said(
        "bulk", "postpone", "--search", "status:retrying", "--delay", "60", "--dry-run"
    )
    assert "delay is 'soon'" in mistake("bulk", "postpone", "--search", "", "--delay", "soon", "--yes")


def test_a_job_is_aborted_listed_and_shown() -> None:
    assert said("bulk", "list").strip() == "There is no bulk job yet."
    ids = failed(3)
    job: Any = answered("bulk", "retry", "--search", "", "--yes")
    assert (job["total"], job["left"], job["status"]) == (3, 3, "queued")
    assert "1 runs were not" not in said("bulk", "list")
    first = answered("bulk", "items", job["id"], "--limit", "2")
    assert [item["run_id"] for item in first["items"]] == ids[:2]
    assert f"--cursor {first['next']}" in said("bulk", "items", job["id"], "--limit", "2")
    assert "3 runs were not retried" in mistake("bulk", "abort", job["id"], "--reason", "wrong", code=1)
    assert answered("bulk", "show", job["id"])["status"] == "cancelled"
    assert "only one that is not over can be aborted" in mistake("bulk", "abort", job["id"])
    assert answered("bulk", "list")["items"][0]["id"] == job["id"]


def test_mistakes_are_one_line() -> None:
    failed(1)
    assert "give one of them" in mistake("bulk", "retry")
    assert "give one of them" in mistake("bulk", "retry", "--search", "x", "--id", NOBODY)
    assert "--yes is needed where nobody can be asked" in mistake("bulk", "retry", "--search", "")
    assert "write the UUID of a run" in mistake("bulk", "retry", "--id", "nope", "--yes")
    assert "fits no run" in mistake("bulk", "retry", "--search", "task:nothing", "--yes")
    assert "is no id of a bulk job" in mistake("bulk", "show", "nope")
    assert "There is no bulk job" in mistake("bulk", "abort", NOBODY)
    assert "cursor is" in mistake(
        "bulk", "items", answered("bulk", "retry", "--search", "", "--yes")["id"], "--cursor=x"
    )
