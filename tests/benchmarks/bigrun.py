"""`python -m tests.benchmarks.bigrun`: how soon the page of a very long run answers to its reader, in a real browser.

It stores a run of many steps, log lines and children, opens its page in Chromium, and prints how long it took until the
steps could be read and scrolled, until a place in the middle was drawn, how soon the log showed its end, its middle and
what was searched for, and what the browser then held. Nothing is asserted: the figures depend on the machine, and on
what else it does; its load is printed beside them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from typing import Any

from tests.benchmarks.stage import ROOT, Stage, stage

FRACTION_OF_FAILURES = 1_000  # every so many steps one has failed
FIRST = "() => document.querySelectorAll('#waterfall li[data-depth]').length > 2"
COUNTED = "n => document.getElementById('steps-count').textContent.includes(n)"
DRAWN = "name => [...document.querySelectorAll('#waterfall .wf-open')].some((e) => e.textContent === name)"
FACTS = """() => ({
    'DOM nodes': document.getElementsByTagName('*').length,
    'waterfall rows': document.querySelectorAll('#waterfall li').length,
    'log lines held': HoldfastLog.attach(document.getElementById('log')).lines.length,
    'log rows': document.querySelectorAll('#log .line').length,
    'heap MB': Math.round(performance.memory.usedJSHeapSize / 1e5) / 10,
})"""
SAYS = "text => [...document.querySelectorAll('#log .line .text')].some((e) => e.textContent === text)"
#: Whether lines are in sight that are not those at the log's end.
MIDDLE = """lines => {
    const texts = [...document.querySelectorAll('#log .line .text')].map((e) => Number(e.textContent.split(' ')[1]));
    return texts.length > 15 && texts.every((n) => n > lines / 4 && n < lines * 3 / 4);
}"""
FITS = "() => document.querySelector('#log .foot').textContent.startsWith('1 line fits ·')"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bigrun", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--children", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stage() as ground:
        run_id = make(options.steps, options.lines, options.children)
        with_web(ground, run_id, options)


def make(steps: int, lines: int, children: int) -> Any:
    """The run, as the engine would have left it; its id."""
    from tests.support import stored

    run = stored.run("running", age=steps / 50)
    stored.attempt(run, worker=stored.worker())
    for first in range(1, steps + 1, 5_000):
        stored.snapshots(run, first, min(first + 4_999, steps))
    for first in range(0, lines, 5_000):
        stored.lines(run, *(f"line {n}" for n in range(first, min(first + 5_000, lines))))
    for _ in range(children):
        stored.run("completed", parent_id=run.id)
    return run.id


def with_web(ground: Stage, run_id: Any, options: argparse.Namespace) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "web", "--port", "0"]
    log = ground.folder / "web.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=ground.folder) as web:
        try:
            ground.until(lambda: "listens on" in log.read_text(), "web listens")
            found = re.search(r"port (\d+)", log.read_text())
            assert found
            measure(f"http://127.0.0.1:{found[1]}", run_id, options)
        finally:
            web.terminate()
            web.wait()


def measure(url: str, run_id: Any, options: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    from holdfast.access.services import signin_link_create

    link = signin_link_create()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900}, bypass_csp=True).new_page()
        page.set_default_timeout(120_000)
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(url + "/")
        for number in range(1, options.rounds + 1):
            page.goto("about:blank")
            print(f"round {number}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores:")
            began = time.monotonic()
            page.goto(f"{url}/runs/{run_id}/", wait_until="commit")
            steps_of(page, options.steps, began)
            if options.lines:
                log_of(page, options.lines)
            print(f"  {page.evaluate(FACTS)}", flush=True)
        browser.close()


def steps_of(page: Any, steps: int, began: float) -> None:
    """`began`: when the page was asked for."""
    page.wait_for_function(FIRST)
    first = time.monotonic() - began
    page.wait_for_function(COUNTED, arg=f"{steps:,} step")
    whole = time.monotonic() - began
    page.evaluate("() => { const e = document.getElementById('waterfall'); e.scrollTop = e.scrollHeight / 2; }")
    page.wait_for_function(DRAWN, arg=f"add#{steps // 2}")
    jumped = time.monotonic() - began - whole
    print(
        f"  steps in sight after {first:.2f} s, their number known after {whole:.2f} s, "
        f"the middle drawn {jumped:.2f} s after a jump"
    )


def log_of(page: Any, lines: int) -> None:
    """On a page of its own: the log is measured from its address."""
    began = time.monotonic()
    page.reload(wait_until="commit")
    page.wait_for_function(SAYS, arg=f"line {lines - 1}")
    opened = time.monotonic() - began
    # The tail comes in two batches; a reader's jump is measured when the page is at rest.
    page.wait_for_function("() => HoldfastLog.attach(document.getElementById('log')).lines.length >= 1000")
    began = time.monotonic()
    page.evaluate("() => { const e = document.querySelector('#log .lines'); e.scrollTop = e.scrollHeight / 2; }")
    page.wait_for_function(MIDDLE, arg=lines)
    jumped = time.monotonic() - began
    began = time.monotonic()
    page.get_by_role("button", name="Last").click()
    page.get_by_label("Search the log").fill(f"line {lines // 3}")
    page.wait_for_function(FITS)
    print(
        f"  log: its last line after {opened:.2f} s, its middle {jumped:.2f} s after a jump, "
        f"one of {lines:,} found and all looked at after {time.monotonic() - began:.2f} s"
    )


if __name__ == "__main__":
    main()
