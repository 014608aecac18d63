"""`alerts` and `channels` on the command line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from runs.alerts.model import Alert, Channel
from runs.models import Rollup
from tests.support import stored
from tests.support.alerts import look_at_alerts

pytestmark = pytest.mark.usefixtures("registered")


@pytest.fixture(autouse=True)
def sums(registered: None) -> None:
    stored.task("sums")


def said(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().strip()


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def mistake(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        said(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def test_an_alert_from_its_making_to_its_end() -> None:
    assert said("alerts", "list") == "There is no alert yet."
    said("channels", "create", "ops", "json", "--url", "https://example.org/hook")
    made = said(
        "alerts", "create", "rate", "failure_rate", "10%", "--task", "sums", "--window", "30m", "--min-runs", "5",
        "--channel", "ops", "--reason", "for ops",
    )  # fmt: skip
    assert made == "Alert rate is made. It fires when: failure rate of sums over 30m above 10 %."
    stored.ended(6, "failed")
    look_at_alerts()
    assert "firing" in said("alerts", "list")
    assert said("alerts", "show", "rate") == "rate is firing: 100.0 %. 6 runs ended in 30m"
    assert told("alerts", "show", "rate")["firing"]["value"] == 100
    assert "It would have fired once" in said("alerts", "preview", "rate")
    assert told("alerts", "preview", "rate")["times"] == 1
    assert "tells nobody until" in said("alerts", "silence", "rate", "2h", "--reason", "a release")
    assert told("alerts", "unsilence", "rate")["silenced_until"] is None
    said("alerts", "acknowledge", "rate")
    assert "(command line)" in said("alerts", "firings", "rate")
    assert "10m" in said("alerts", "set", "rate", "--for", "10m")
    assert Alert.objects.get().hold == 600
    said("alerts", "pause", "rate")
    assert told("alerts", "list")[0]["enabled"] is False
    said("alerts", "resume", "rate")
    assert told("alerts", "firings", "rate")[0]["ended"] == "changed"
    said("alerts", "delete", "rate")
    assert not Alert.objects.exists()


def test_what_is_wrong_is_one_line_that_says_what_to_write() -> None:
    assert "write a duration" in mistake("alerts", "create", "a", "latency", "soon")
    assert "write percent" in mistake("alerts", "create", "a", "failure_rate", "many")
    assert "write seconds from" in mistake("alerts", "create", "a", "no_progress", "1s", "--task", "sums")
    assert "did you mean sums" in mistake("alerts", "create", "a", "failure_rate", "5", "--task", "sum")
    assert "There is no alert 'a'" in mistake("alerts", "show", "a")
    said("alerts", "create", "a", "head_wait", "5m")
    assert "nothing to change" in mistake("alerts", "set", "a")
    assert "31 days" in mistake("alerts", "silence", "a", "99d")
    assert "only one that fires" in mistake("alerts", "acknowledge", "a")
    assert "Did you mean a?" not in mistake("alerts", "show", "zzz")


def test_channels_are_made_changed_and_tried() -> None:
    assert said("channels", "list") == "There is no channel yet."
    said("channels", "create", "team", "email", "--to", "ann@example.org", "--to", "bob@example.org")
    assert told("channels", "list")[0]["recipients"] == ["ann@example.org", "bob@example.org"]
    said("channels", "set", "team", "--to", "eve@example.org")
    assert "eve@example.org" in said("channels", "list")
    assert "delivers it" in said("channels", "test", "team")
    assert told("channels", "deliveries", "team")[0]["type"] == "test"
    assert "[test]" in said("channels", "deliveries", "team")
    said("channels", "pause", "team")
    assert not Channel.objects.get().enabled
    said("channels", "resume", "team")
    assert "nothing to change" in mistake("channels", "set", "team")
    assert "no address" in mistake("channels", "set", "team", "--to", "nobody")
    said("channels", "delete", "team")
    assert "There is no channel" in mistake("channels", "test", "team")
    assert not Rollup.objects.exists()
