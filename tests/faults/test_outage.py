"""What runs call is away for a while: its breaker lets probes through, and nothing stampedes when it is back."""

from __future__ import annotations

import time
from pathlib import Path

import plotly.graph_objects as go

from queues.models import Breaker
from runs.models import Run
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.service import Service
from tests.support.waiting import eventually

#: Runs that call, how many of them begin at once, and every how many seconds.
RUNS, BURST, EVERY = 5_000, 100, 0.2
#: The service is away from so many seconds after the first run on, until then.
AWAY, BACK = 2.0, 10.0
COOLDOWN, PROBES = 1.5, 3  # of the breaker in `breaker_tasks.py`
#: Seconds after which each worker knows what one has found: they exchange it four times a second, if they get a turn.
HEARD = 3.0
BIN = 0.25


def flood(name: str, service: Service, runs: int, burst: int) -> tuple[float, float, float, float]:
    """Enqueues, and takes the service away meanwhile. When it began, was away, was found to be away by the breaker (0:
    it was not), and was back."""
    began, away, opened, back = time.time(), 0.0, 0.0, 0.0
    left, number = runs, 0
    while left or not back:
        now = time.time() - began
        if not away and now >= AWAY:
            service.up, away = False, time.time()
        if away and not opened and Breaker.objects.exclude(state="closed").exists():
            opened = time.time()
        if not back and now >= BACK:
            service.up, back = True, time.time()
        if left and now >= number * EVERY:
            the(name).enqueue_many([{"number": number * burst + n} for n in range(min(burst, left))])
            left, number = left - min(burst, left), number + 1
        time.sleep(0.01)  # the pace of this load, and no condition
    return began, away, opened, back


def ended(name: str) -> bool:
    return not Run.objects.filter(task_id=name, finished_at=None).exists()


def bins(service: Service, word: str, began: float, seconds: float) -> list[int]:
    return [service.count(word, since=began + n * BIN, until=began + (n + 1) * BIN) for n in range(int(seconds / BIN))]


def test_an_outage_lets_probes_through_alone_and_ends_without_a_stampede(
    breaking: Fleet, service: Service, data_dir: Path
) -> None:
    breaking.worker("worker-1")
    breaking.worker("worker-2")
    breaking.scheduler()
    the("calls-supplier").enqueue(number=-1).result(timeout=20)
    began, away, opened, back = flood("calls-supplier", service, RUNS, BURST)
    eventually(lambda: ended("calls-supplier"), "all runs end", timeout=150)
    took = time.time() - began
    assert Run.objects.filter(task_id="calls-supplier", status="completed").count() == RUNS + 1

    assert opened, "a window of two seconds has a fifth of failures"
    probes = service.count("guarded", since=opened + HEARD, until=back)
    assert 1 <= probes <= PROBES * ((back - opened) / COOLDOWN + 1), "then probes alone reach the service"
    waiting = service.count("guarded", since=back)
    after = max(bins(service, "guarded", back, took - (back - began)))
    assert waiting > RUNS / 2
    assert after <= waiting / 2, "what has waited comes back spread over a cooldown"

    bare_began, bare_away, _, bare_back = flood("calls-unprotected", service, RUNS // 5, BURST // 5)
    eventually(lambda: ended("calls-unprotected"), "all runs end", timeout=150)
    bare = service.count("bare", since=bare_away + opened - away + HEARD, until=bare_back)
    assert bare > 20 * probes, "without it they all do"
    draw(
        data_dir / "outage.html", service, {"guarded": (began, away, back), "bare": (bare_began, bare_away, bare_back)}
    )
    assert Breaker.objects.get(name="supplier").state == "closed"


def draw(path: Path, service: Service, spans: dict[str, tuple[float, float, float]]) -> None:
    """Both curves, for people: calls that reach the service, with a breaker and without."""
    words = {"guarded": "with a breaker", "bare": "without, a fifth of the runs"}
    figure = go.Figure()
    for word, (began, _, _) in spans.items():
        counts = bins(service, word, began, 25.0)
        figure.add_scatter(x=[n * BIN for n in range(len(counts))], y=[c / BIN for c in counts], name=words[word])
    figure.add_vrect(x0=AWAY, x1=BACK, fillcolor="#b0413e", opacity=0.15, line_width=0, annotation_text="away")
    figure.update_layout(xaxis_title="seconds", yaxis_title="calls per second", template="simple_white")
    figure.write_html(path, include_plotlyjs=False)
