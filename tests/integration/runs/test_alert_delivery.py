"""Alerts arrive: by a real mail server and at a real receiver, once for each firing, and again until they are taken."""

from __future__ import annotations

import email
import socket
from email import policy
from html import unescape
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from runs.alerts import channels, services
from runs.alerts.model import Alert, Firing
from runs.models import Run
from runs.tasks import PATIENT
from tests.support import stored
from tests.support.alerts import look_at_alerts
from tests.support.mailbox import Mailbox
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.receiver import Receiver
from tests.support.runs import lines, the
from tests.support.waiting import eventually

ACTOR = Actor.local()
DELIVERS = "holdfast.alert"
pytestmark = pytest.mark.usefixtures("registered")
#: Minutes: over, and too young for the schedulers to have summed them; nothing comes into a minute that is summed.
AGO = 2
RATE: dict[str, Any] = {"kind": "failure_rate", "task": "sums", "threshold": 10, "window": 3_600, "min_runs": 5}


def make(*to: str) -> None:
    stored.task("sums")
    stored.ended(6, "failed", minutes_ago=AGO)
    services.alert_create("rate", actor=ACTOR, channels=list(to), **RATE)


def delivered(number: int) -> list[Run]:
    done = Run.objects.filter(task_id=DELIVERS, status="completed")
    eventually(lambda: done.count() == number, f"{number} deliveries are taken")
    return list(done.order_by("id"))


def test_people_and_programs_are_told_once_when_it_fires_and_once_when_it_is_over(fleet: Fleet) -> None:
    with Mailbox() as mailbox, Receiver() as slack, Receiver() as program:
        worker = fleet.worker(
            "worker-1",
            HOLDFAST_EMAIL_URL=mailbox.url,
            HOLDFAST_EMAIL_FROM="Holdfast <holdfast@example.org>",
        )
        for _ in range(2):
            fleet.scheduler(HOLDFAST_PUBLIC_URL="https://holdfast.example.org")
        people = ["ann@example.org", "bob@example.org"]
        channels.channel_create("team", "email", recipients=people, actor=ACTOR)
        channels.channel_create("chat", "slack", url=slack.url, actor=ACTOR)
        channels.channel_create("program", "json", url=program.url, actor=ACTOR)
        channels.channel_create("off", "json", url=program.url, enabled=False, actor=ACTOR)
        make("team", "chat", "program", "off")
        delivered(3)
        stored.ended(100, minutes_ago=AGO)
        Alert.objects.update(due_at=timezone.now())
        eventually(lambda: Firing.objects.filter(ended="recovered").exists(), "it is over")
        delivered(6)
    assert [" ".join(str(message["Subject"]).split()) for message in mailbox.messages] == [
        "[firing] rate: 100.0 % (6 runs ended in 1h): failure rate of sums over 1h above 10 %",
        "[resolved] rate: failure rate of sums over 1h above 10 %",
    ]
    assert mailbox.envelopes == [people, people]
    assert mailbox.messages[0]["From"] == "Holdfast <holdfast@example.org>"
    text = mailbox.text()
    assert "alert: https://holdfast.example.org/alerts/rate/" in text
    assert "examples: https://holdfast.example.org/runs/?q=task:sums+status:failed" in text
    assert "over because: recovered" in mailbox.text(1)
    viewer = signed_in("viewer")
    for line in text.splitlines()[-2:]:
        path = line.partition("https://holdfast.example.org")[2]
        assert viewer.get(path).status_code == 200, f"a link of the mail leads there: {line}"
    assert [body["text"].partition("\n")[0][:8] for body in slack.bodies()] == ["[firing]", "[resolve"]
    assert [set(body) for body in slack.bodies()] == [{"text"}, {"text"}]
    told = program.bodies()
    assert [body["type"] for body in told] == ["alert.firing", "alert.resolved"]
    assert told[0]["data"]["alert"] == "rate"
    assert (told[0]["data"]["value"], told[1]["data"]["ended"]) == (100, "recovered")
    assert told[1]["data"]["until"] is not None
    assert slack.url not in worker.said(), "whoever knows the address may write there"


def test_what_is_not_taken_is_sent_again_as_the_same_message(fleet: Fleet) -> None:
    with Mailbox(refusals=1) as mailbox, Receiver(500) as receiver:
        fleet.worker("worker-1", HOLDFAST_EMAIL_URL=mailbox.url)
        fleet.scheduler()
        channels.channel_create("team", "email", recipients=["ann@example.org"], actor=ACTOR)
        channels.channel_create("program", "json", url=receiver.url, actor=ACTOR)
        tests = [channels.channel_test(name, actor=ACTOR) for name in ("team", "program")]
        eventually(
            lambda: Run.objects.filter(pk__in=tests, status="completed").count() == 2,
            "both are taken in the end",
            timeout=PATIENT.ceiling(1) + 60,
        )
    for run in Run.objects.filter(pk__in=tests):
        assert run.attempt == 2
    assert mailbox.messages[0]["Message-ID"].startswith(f"<{tests[0]}@")
    assert {headers["webhook-id"] for headers, _ in receiver.requests} == {str(tests[1])}
    assert receiver.bodies()[0] == receiver.bodies()[1]
    assert receiver.bodies()[0]["type"] == "test"


def test_of_several_people_each_has_it_once_although_one_is_refused_at_first(fleet: Fleet) -> None:
    everybody = ["ann@example.org", "bob@example.org", "cid@xn--bcher-kva.example"]
    with Mailbox(strangers=["bob@example.org"]) as mailbox:
        fleet.worker("worker-1", HOLDFAST_EMAIL_URL=mailbox.url)
        channels.channel_create(
            "team", "email", recipients=["ann@example.org", "bob@example.org", "cid@bücher.example"], actor=ACTOR
        )
        run = channels.channel_test("team", actor=ACTOR)
        again = eventually(lambda: Run.objects.filter(pk=run, status="retrying").first(), "it is tried again later")
        said = "the mail server did not take it: bob@example.org is refused: 550 5.1.1 no such person here"
        assert again.error["message"].endswith(said)
        page = unescape(signed_in("viewer").get("/alerts/channels/team/").content.decode())
        assert said in page
        assert "attempt 1 of 9, the next" in " ".join(page.split())
        mailbox.strangers.clear()
        fleet.scheduler()
        eventually(lambda: Run.objects.filter(pk=run, status="completed").exists(), "he has it too", timeout=60)
    assert mailbox.envelopes == [[everybody[0], everybody[2]], ["bob@example.org"]]
    assert {message["Message-ID"] for message in mailbox.messages} == {mailbox.messages[0]["Message-ID"]}
    assert [message["To"] for message in mailbox.messages] == [", ".join(everybody)] * 2


def test_a_hostile_name_writes_no_header_and_no_line_of_its_own_and_others_are_read_as_they_are(fleet: Fleet) -> None:
    hostile = "sums\r\nBcc: eve@example.org\nalert: http://evil.example/ <!channel> größer €\x1b[2J"
    with Mailbox() as mailbox, Receiver() as slack:
        fleet.worker("worker-1", HOLDFAST_EMAIL_URL=mailbox.url)
        channels.channel_create("team", "email", recipients=["ann@example.org"], actor=ACTOR)
        channels.channel_create("chat", "slack", url=slack.url, actor=ACTOR)
        stored.task(hostile)
        stored.ended(6, "failed", hostile)
        services.alert_create("rate", actor=ACTOR, channels=["team", "chat"], **{**RATE, "task": hostile})
        look_at_alerts()
        delivered(2)
    message = email.message_from_bytes(mailbox.messages[0].as_bytes(), policy=policy.default)
    assert mailbox.envelopes == [["ann@example.org"]]
    assert "Bcc" not in message
    shown = "sums Bcc: eve@example.org alert: http://evil.example/ <!channel> größer € [2J over 1h above 10 %"
    assert (
        " ".join(message["Subject"].split())
        == f"[firing] rate: 100.0 % (6 runs ended in 1h): failure rate of {shown}"[:200]
    )
    lines = mailbox.text().splitlines()
    assert lines[0].endswith(shown)
    assert [line for line in lines if line.startswith("alert: ")] == ["alert: /alerts/rate/"]
    assert "Set HOLDFAST_PUBLIC_URL" in lines[-1], "a path alone leads nowhere from a mailbox"
    assert "&lt;!channel&gt;" in slack.bodies()[0]["text"]


def test_without_a_mail_server_it_is_given_up_and_says_what_to_set(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    channels.channel_create("team", "email", recipients=["ann@example.org"], actor=ACTOR)
    run = channels.channel_test("team", actor=ACTOR)
    failed = eventually(lambda: Run.objects.filter(pk=run, status="failed").first(), "it is given up")
    assert "Set HOLDFAST_EMAIL_URL" in failed.error["message"]


def test_a_server_that_is_away_is_tried_again_and_the_password_is_told_to_nobody(fleet: Fleet) -> None:
    fleet.worker("worker-1", HOLDFAST_EMAIL_URL="smtp://ann:s3cret@127.0.0.1:9")
    channels.channel_create("team", "email", recipients=["ann@example.org"], actor=ACTOR)
    run = channels.channel_test("team", actor=ACTOR)
    again = eventually(lambda: Run.objects.filter(pk=run, status="retrying").first(), "it is tried again later")
    assert "the mail server did not take it: ConnectionRefusedError" in again.error["message"]
    assert "s3cret" not in str(again.error)
    channels.channel_delete("team", actor=ACTOR)
    channels.channel_create("team", "email", recipients=["bob@example.org"], actor=ACTOR)
    fleet.scheduler()
    eventually(lambda: Run.objects.filter(pk=run, status="cancelled").exists(), "it ends")
    said = [line.message for line in lines(run)]
    assert any("was deleted" in line for line in said), "another channel of that name gets none of its news"


def test_a_mail_server_that_says_nothing_holds_up_nobody_elses_queries(hard: Fleet) -> None:
    """Async code of all runs shares one thread for the ORM."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        hard.worker("worker-1", HOLDFAST_EMAIL_URL=f"smtp://127.0.0.1:{silent.getsockname()[1]}")
        channels.channel_create("team", "email", recipients=["ann@example.org"], actor=ACTOR)
        sent = [channels.channel_test("team", actor=ACTOR) for _ in range(4)]
        first, _ = silent.accept()
        with first:
            the("uses-the-orm").enqueue().result(timeout=60)
            assert Run.objects.filter(pk__in=sent, status="running", attempt=1).count() == 4, "all of them still wait"
