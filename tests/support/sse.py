"""Server-sent events as a reader gets them, and what a reader makes of a stream's chunks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

ACCEPT = {"Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is "" where the event has none."""

    id: str
    kind: str
    data: Any


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a response; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line == "":
            if "data" in fields:
                yield Event(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def follow(client: httpx.Client, path: str, last: str = "") -> Iterator[Event]:
    """The events from where `last` was told; closing the generator cuts the connection."""
    headers = {**ACCEPT, **({"Last-Event-ID": last} if last else {})}
    with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield from parse(response.iter_lines())


def text(chunks: Iterable[dict[str, Any]]) -> str:
    """What holds of the chunks: the rule of `platform/docs/streams.md`."""
    kept: list[dict[str, Any]] = []
    for chunk in chunks:
        if chunk["kind"] == "restart" and chunk["step"] is None:
            kept = [c for c in kept if c["snapshot"] < chunk["snapshot"]]
        elif chunk["kind"] == "restart":
            kept = [c for c in kept if c["step"] != chunk["step"]]
        elif chunk["kind"] == "chunk":
            kept.append(chunk)
    return "".join(str(c["data"]) for c in kept)
