"""One delivery: signed by Standard Webhooks, answered with a status of 200 to 299, or tried again."""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import httpx
from asgiref.sync import sync_to_async
from pydantic_core import to_json

from holdfast.access.selectors import database_now
from runs.engine.database import tidy
from runs.outbound.model import Endpoint
from runs.sdk.retry import Abort
from runs.webhooks import schemes, vault

#: Seconds for a connection, and between two pieces of the answer; and for all of it.
TIMEOUT: Final = 10.0
WHOLE: Final = 30.0
#: Characters of an answer that are shown when it is none of success.
SHOWN: Final = 200
_GONE: Final = 410
_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="holdfast-deliveries")
T = TypeVar("T")


class DeliveryFailed(Exception):
    """The endpoint did not take it. It is tried again."""


class Unwanted(Abort):
    """Whom it was for was switched off, or deleted. Nothing has failed: the delivery is cancelled."""


def request_of(
    name: str, delivery_id: str, body: dict[str, Any], endpoint_id: int | None = None
) -> tuple[str, bytes, dict[str, str]]:
    """The address, the bytes and the headers. Raises Unwanted.

    Another endpoint that was given the name of a deleted one gets none of its news.
    """
    row = Endpoint.objects.filter(name=name, **({"pk": endpoint_id} if endpoint_id else {})).first()
    if row is None or not row.enabled:
        raise Unwanted(f"Endpoint {name} {'is switched off' if row else 'was deleted'}; this is not delivered.")
    data, now = to_json(body), database_now()
    secrets = [row.secret] + ([row.old_secret] if row.old_secret and vault.rotating(row.old_until, now) else [])
    signed = [schemes.sign(vault.reveal(secret), delivery_id, int(now.timestamp()), data) for secret in secrets]
    signatures = " ".join(headers["webhook-signature"] for headers in signed)
    headers = {**signed[0], "webhook-signature": signatures, "content-type": "application/json"}
    return row.url, data, {**headers, "user-agent": "Holdfast", "accept-encoding": "identity"}


async def asked(function: Callable[..., T], *args: Any) -> T:
    """Calls what asks the database in a thread of the deliveries' own: hundreds of them at once must not stand before
    the users' tasks in the one thread that all `async def` code shares for the ORM."""
    return await sync_to_async(_tidily, thread_sensitive=False, executor=_THREADS)(function, *args)


def _tidily(function: Callable[..., T], *args: Any) -> T:
    try:
        return function(*args)
    finally:
        tidy()


async def send(url: str, data: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """Sends it. Returns the answer's status and how many seconds it took.

    Raises:
        DeliveryFailed: no answer, or one that is no success; redirects are not followed.
        Abort: the endpoint says that it is gone (410).
    """
    began = time.monotonic()
    try:
        async with (
            asyncio.timeout(WHOLE),
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, verify=_tls()) as client,
            client.stream("POST", url, content=data, headers=headers) as answer,
        ):
            if answer.is_success:
                return {"status": answer.status_code, "seconds": round(time.monotonic() - began, 3)}
            said = await _beginning(answer)
    except TimeoutError:
        raise DeliveryFailed(f"no whole answer within {WHOLE:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # a ValueError: an address that cannot be sent to
        raise DeliveryFailed(f"no answer: {type(error).__name__} {error}".strip()) from None
    if answer.status_code == _GONE:
        raise Abort("The endpoint answered 410: it is gone. Delete it, or give it another address.")
    raise DeliveryFailed(f"answered {answer.status_code}: {said}")


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all: to make one reads each certificate authority, for tens of milliseconds, and keeps a megabyte."""
    return httpx.create_ssl_context()


async def _beginning(answer: httpx.Response) -> str:
    async for piece in answer.aiter_raw(4 * SHOWN):  # as it comes: what is packed may be of any size unpacked
        return " ".join(piece.decode("utf-8", "replace").split())[:SHOWN]
    return "nothing"
