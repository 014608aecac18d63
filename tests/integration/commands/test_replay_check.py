"""`manage.py replay-check`: what would not fit is told before a rollout, and nothing is executed or written."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from django.db import connection

from holdfast.access.grants import Actor
from runs import answers
from runs.sdk.handle import RunHandle
from tests.support.processes import Fleet
from tests.support.releases import enqueued, release
from tests.support.runs import all_final, run
from tests.support.waiting import eventually

ONE = """
@task(id="checked-plain")
async def plain() -> str:
    print("printed"); log.info("said"); stream("out").send("x")
    await do("a")
    await acheckpoint({"a": 1})
    await do("b")
    await asyncio.gather(do("c"), do("d"))
    token = await wait.atoken("door")
    await wait.asignal("go")
    return await do("e")

@task(id="threaded")
def threaded() -> str:
    return said("first") + said("second")

@step
def said(what: str) -> str:
    note("said", what)
    return what
"""


def stored() -> dict[str, Any]:
    """What every table holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        )
        names = [row[0] for row in cursor.fetchall()]
        found = {}
        for name in names:
            cursor.execute(f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{name}\" t")
            found[name] = cursor.fetchone()
    return found


@pytest.fixture
def in_flight(fleet: Fleet) -> list[RunHandle[object]]:
    """A run that waits for a signal, and one that has completed; their worker has left."""
    tasks = release(fleet, "one", ONE)
    worker = fleet.worker("old", HOLDFAST_TASKS=tasks)
    handles = [enqueued(tasks, "checked-plain"), enqueued(tasks, "threaded")]
    all_final([handles[1].id])
    eventually(lambda: run(handles[0].id).status == "waiting", "it waits")
    worker.signal(signal.SIGTERM)
    worker.wait()
    return handles


def checked(fleet: Fleet, tasks: str, *arguments: str) -> tuple[int, Any]:
    """Exit code and report of a check; it has written nothing, and called no step."""
    before, calls = stored(), len(fleet.ledger.entries())
    process = fleet.start("check", "replay-check", "--json", *arguments, HOLDFAST_TASKS=tasks)
    code = process.wait(60)
    assert code in (0, 1), process.said()
    assert stored() == before
    assert len(fleet.ledger.entries()) == calls
    return code, json.loads(process.said())


def test_code_that_fits_and_code_that_grows_pass(fleet: Fleet, in_flight: list[RunHandle[object]]) -> None:
    same = release(fleet, "same", ONE)
    assert checked(fleet, same) == (0, {"replayed": 2, "compatible": 2, "incompatible": [], "undecided": []})
    grown = release(fleet, "grown", ONE.replace('return await do("e")', 'await do("e"); return await do("f")'))
    assert checked(fleet, grown, "--sample", "0")[0] == 0


def test_hooks_are_not_called_middleware_is_and_usage_and_progress_go_nowhere(fleet: Fleet) -> None:
    body = """
    from contextlib import contextmanager
    from runs import usage

    @contextmanager
    def around(run):
        with open(Path(os.environ["TESTS_LEDGER"]).parent / "around", "a") as file:
            file.write("x")
        yield

    @task(id="checked-hooked", on_start=lambda: note("on_start"), on_success=lambda value: note("on_success", value),
          on_resume=lambda: note("on_resume"), middleware=[around], budget={"tokens": 9})
    async def hooked() -> str:
        usage(tokens=1)
        current_run().progress(0.5, "half")
        current_run().set_metadata({"a": 1})
        first = await do("a")
        usage(tokens=1)
        await wait.asignal("go")
        return first + await do("b")
    """
    tasks = release(fleet, "one", body)
    worker = fleet.worker("old", HOLDFAST_TASKS=tasks)
    handle = enqueued(tasks, "checked-hooked")
    eventually(lambda: run(handle.id).status == "waiting", "it waits")
    worker.signal(signal.SIGTERM)
    worker.wait()
    entered = len((fleet.ledger.folder / "around").read_text())
    report = {"replayed": 1, "compatible": 1, "incompatible": [], "undecided": []}
    assert checked(fleet, release(fleet, "same", body)) == (0, report)
    assert len((fleet.ledger.folder / "around").read_text()) == entered + 1
    answers.run_signal(handle.id, "go", None, actor=Actor.local())
    fleet.worker("new", HOLDFAST_TASKS=tasks)
    all_final([handle.id])
    assert run(handle.id).output == "ab"
    assert [fleet.ledger.count(word) for word in ("on_start", "on_resume", "on_success")] == [1, 1, 1]


def test_what_does_not_fit_is_named_with_both_lists_and_exit_code_1(
    fleet: Fleet, in_flight: list[RunHandle[object]]
) -> None:
    changed = ONE.replace('    await do("b")\n', "").replace(
        'said("first") + said("second")', 'said("second") + said("first")'
    )
    tasks = release(fleet, "changed", changed)
    code, report = checked(fleet, tasks)
    assert code == 1
    found = {item["task"]: item for item in report["incompatible"]}
    assert found["threaded"]["run"] == str(in_flight[1].id)
    assert found["threaded"]["asked"] == ["said#1 with the arguments of said#2"]
    assert found["checked-plain"]["what"] == "signal:go#1 was asked for where the history has do#2"
    assert found["checked-plain"]["asked"] == ["do#1", "do#1@1", "do#1@2", "signal:go#1"]
    process = fleet.start("words", "replay-check", "--task", "threaded", HOLDFAST_TASKS=tasks)
    assert process.wait(60) == 1
    assert "≠ said#1    said#1 with the arguments of said#2" in process.said()
    assert "1 runs replayed: 1 incompatible." in process.said()


def test_a_task_that_is_gone_and_a_parameter_that_is_new_do_not_fit(
    fleet: Fleet, in_flight: list[RunHandle[object]]
) -> None:
    code, report = checked(
        fleet, release(fleet, "gone", ONE.replace('id="checked-plain"', 'id="renamed"')), "--sample", "0"
    )
    assert (code, report["incompatible"][0]["what"]) == (1, "this code has no task checked-plain")
    needs = release(fleet, "needs", ONE.replace("def plain()", "def plain(size: int)"))
    code, report = checked(fleet, needs, "--sample", "0")
    assert code == 1
    assert "the stored payload does not fit" in report["incompatible"][0]["what"]


def test_code_that_writes_or_hangs_between_its_steps_is_stopped_and_undecided(
    fleet: Fleet, in_flight: list[RunHandle[object]]
) -> None:
    writes = (
        ONE.replace("    return said(", "    other.enqueue()\n    return said(")
        + '\n@task(id="other")\ndef other() -> None: ...\n'
    )
    code, report = checked(fleet, release(fleet, "writes", writes), "--task", "threaded")
    assert (code, report["compatible"]) == (0, 0)
    assert "read-only" in report["undecided"][0]["what"]
    hangs = ONE.replace("    return said(", "    time.sleep(60)\n    return said(")
    code, report = checked(fleet, release(fleet, "hangs", hangs), "--task", "threaded", "--time-limit", "0.5")
    assert (code, report["undecided"][0]["what"]) == (0, "it took longer than 0.5 s")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "no-such-task"], "There is no task 'no-such-task'"),
        (["--task", "\udcff"], r"--task '\udcff': write the id of a task"),
        (["--sample", "9" * 20], f"--sample {'9' * 20}: write how many completed runs of each task, from 0 to 100000."),
        (["--sample", "-1"], "--sample -1: write how many completed runs of each task, from 0 to 100000."),
        (["--time-limit", "nan"], "--time-limit nan: write seconds, above 0 and up to 3600."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(fleet: Fleet, options: list[str], said: str) -> None:
    process = fleet.start("check", "replay-check", *options)
    assert process.wait(60) == 2
    (line,) = process.said().splitlines()
    assert line.startswith(f"CommandError: {said}")
