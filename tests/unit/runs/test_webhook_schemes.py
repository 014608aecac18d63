"""Signatures: the published vectors pass, and no flipped byte does."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import InvalidOption, InvalidPayload
from runs.webhooks import inbound, mapping, schemes, vault
from runs.webhooks.schemes import SignatureRefused

#: The vector of Standard Webhooks' own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENT = 1614265330
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(SENT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
#: The vector of GitHub's documentation.
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_HEADERS = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
}


def stripe_headers(body: bytes, secret: str, sent: int = SENT) -> dict[str, str]:
    """As Stripe's documentation says it is made."""
    mac = hmac.new(secret.encode(), f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={sent},v1={mac},v0=6ffbb59b2300aae63f27240606"}


def test_published_vectors_pass() -> None:
    assert schemes.standard(HEADERS, BODY, [SECRET], SENT, 300) == HEADERS["webhook-id"]
    assert schemes.github(GITHUB_HEADERS, GITHUB_BODY, [GITHUB_SECRET], 0, 0) == GITHUB_HEADERS["x-github-delivery"]
    assert schemes.sign(SECRET, HEADERS["webhook-id"], SENT, BODY) == HEADERS


def test_stripe_signs_the_time_and_the_body() -> None:
    assert schemes.stripe(stripe_headers(BODY, SECRET), BODY, ["other-secret-1234", SECRET], SENT, 300) is None
    moved = stripe_headers(BODY, SECRET)["stripe-signature"].replace(f"t={SENT}", f"t={SENT + 1}")
    with pytest.raises(SignatureRefused):
        schemes.stripe({"stripe-signature": moved}, BODY, [SECRET], SENT, 300)
    with pytest.raises(SignatureRefused, match="must hold the time"):
        schemes.stripe({"stripe-signature": f"t={SENT},{moved}"}, BODY, [SECRET], SENT, 300)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), which=st.sampled_from(["standard", "github", "stripe"]))
def test_no_flipped_bit_passes(at: int, bit: int, which: str) -> None:
    body, headers, secret = {
        "standard": (BODY, HEADERS, SECRET),
        "github": (GITHUB_BODY, GITHUB_HEADERS, GITHUB_SECRET),
        "stripe": (BODY, stripe_headers(BODY, SECRET), SECRET),
    }[which]
    flipped = bytearray(body)
    flipped[at % len(body)] ^= 1 << bit
    schemes.SCHEMES[which](headers, body, [secret], SENT, 300)
    with pytest.raises(SignatureRefused):
        schemes.SCHEMES[which](headers, bytes(flipped), [secret], SENT, 300)


@pytest.mark.parametrize("away", [-301, 301])
def test_a_time_outside_of_the_window_is_refused(away: int) -> None:
    with pytest.raises(SignatureRefused, match="more than 300 s from now"):
        schemes.standard(HEADERS, BODY, [SECRET], SENT + away, 300)
    assert schemes.standard(HEADERS, BODY, [SECRET], SENT + away, 301)


@given(st.dictionaries(st.sampled_from([*HEADERS, *GITHUB_HEADERS, "stripe-signature"]), st.text(max_size=60)))
def test_odd_headers_are_refused_and_never_fail(headers: dict[str, str]) -> None:
    for verify in schemes.SCHEMES.values():
        with pytest.raises(SignatureRefused):
            verify(headers, BODY, [SECRET], SENT, 300)


def test_secrets_are_made_closed_and_revealed() -> None:
    secret = vault.fresh()
    assert all(schemes.secret_fault(scheme, secret) is None for scheme in schemes.SCHEMES)
    closed = vault.close(secret)
    assert secret not in closed
    assert vault.reveal(closed) == secret
    with pytest.raises(vault.SecretUnreadable):
        vault.reveal(closed[:-4] + "AAA=")


@pytest.mark.parametrize("secret", ["short", "whsec_no base64 at all", "whsec_" + "A" * 8, "é" * 20])
def test_what_is_no_secret_is_said(secret: str) -> None:
    assert schemes.secret_fault("standard", secret)


def test_a_filter_and_a_mapping_see_body_headers_and_query() -> None:
    body = {"action": "opened", "issue": {"title": "T", "number": 3}}
    shown = mapping.public({"X-GitHub-Event": "issues", "Authorization": "Bearer s", "Stripe-Signature": "s"})
    assert shown == {"x-github-event": "issues"}
    seen = mapping.context(body, shown, {"v": "1"})
    assert mapping.passes("action == 'opened' && headers.\"x-github-event\" == 'issues'", seen)
    assert not mapping.passes("action == 'closed'", seen)
    assert mapping.passes("", seen)
    assert mapping.payload("{title: issue.title, number: issue.number, v: query.v}", seen) == {
        "title": "T",
        "number": 3,
        "v": "1",
    }
    assert mapping.payload("", seen) == body


@pytest.mark.parametrize("expression", ["a ==", "{", "(" * 3_000, "a\x00b", "a" * 5_000])
def test_an_expression_that_cannot_be_read_is_named(expression: str) -> None:
    with pytest.raises(InvalidOption) as error:
        mapping.check("filter", expression)
    assert error.value.data["errors"][0]["field"] == "filter"


def test_an_expression_that_fails_on_a_body_is_a_refusal() -> None:
    with pytest.raises(InvalidPayload, match="mapping fails on this body"):
        mapping.payload("length(body.n)", mapping.context({"n": 3}, {}, {}))


def test_refused_requests_are_written_at_most_once_a_second() -> None:
    tally = inbound.Tally()
    assert [tally.add(1, t) for t in (5.0, 5.1, 5.9, 6.0, 6.5, 7.5)] == [1, 0, 0, 3, 0, 2]
