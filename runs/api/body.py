"""Reads request bodies: declared as JSON, not over the limit, strict, and of the shape that the address takes."""

import json
import uuid
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from django.conf import settings
from django.http import HttpRequest
from pydantic import BaseModel, ValidationError

from runs import jsonvalue
from runs.api.problems import (
    BodyTooLarge,
    InvalidBody,
    InvalidHeader,
    InvalidId,
    UnsupportedMediaType,
    problem_body,
    refusal,
)
from runs.api.schemas import ReasonIn

M = TypeVar("M", bound=BaseModel)

#: Bytes of a body beyond its payload: options, names, quotes.
ENVELOPE: Final = 64 * 1024
#: A batch may have this many times the bytes of one payload.
BATCH_FACTOR: Final = 16
#: The same for a batch of lines, which is never held whole.
LINES_FACTOR: Final = 64
#: The media type of a batch of lines.
NDJSON: Final = "application/x-ndjson"
MAX_KEY: Final = 200
MAX_FIELD: Final = 60


def limit_of(path: str, content_type: str) -> int:
    """How many bytes the body of a request to `path` may have."""
    payload: int = settings.HOLDFAST_PAYLOAD_LIMIT
    if not (path.startswith("/api/") and path.endswith("/batch")):
        return payload + ENVELOPE
    return payload * (LINES_FACTOR if media_type(content_type) == NDJSON else BATCH_FACTOR) + ENVELOPE


def media_type(content_type: str) -> str:
    """The type of a Content-Type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def read(request: HttpRequest, shape: type[M], *, optional: bool = False) -> M:
    """The request's body as a `shape`.

    Args:
        optional: an empty body counts as `{}`.

    Raises:
        UnsupportedMediaType, BodyTooLarge, InvalidJson, InvalidPayload, InvalidBody.
    """
    data = _bytes(request)
    if not data and optional:
        return shape()
    if not data:
        raise refusal(InvalidBody, ("", f"The body is empty; send JSON such as {_example(shape)}"))
    _check_media_type(request)
    value = jsonvalue.parse(data)
    if not isinstance(value, dict):
        raise refusal(InvalidBody, ("", f"The body must be an object such as {_example(shape)}"))
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise refusal(InvalidBody, *(_fault(e, value, shape) for e in error.errors(include_url=False))) from None


def reason_of(request: HttpRequest) -> str:
    """Why somebody does it: the body of an action that needs no other. Raises as `read` does."""
    return read(request, ReasonIn, optional=True).reason


def idempotency_key(request: HttpRequest) -> str | None:
    """The header Idempotency-Key. Raises InvalidHeader."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key.strip()) <= MAX_KEY or not key.isprintable() or not key.isascii():
        raise refusal(InvalidHeader, ("Idempotency-Key", f"must be 1 to {MAX_KEY} printable ASCII characters"))
    return key.strip()


def run_id(text: str) -> uuid.UUID:
    """A run's id of the address. Raises InvalidId."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise refusal(InvalidId, ("run_id", "is no run id; write a UUID")) from None


def name(field: str, text: str, most: int = 200) -> str:
    """A name of the address, checked to be text that PostgreSQL can hold. Raises InvalidId."""
    if len(text) > most or not text.isprintable():
        raise refusal(InvalidId, (field, f"must be 1 to {most} printable characters"))
    return text


def _bytes(request: HttpRequest) -> bytes:
    limit = limit_of(request.path, request.headers.get("Content-Type", ""))
    declared = request.headers.get("Content-Length") or "0"
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise too_large(limit)
    data = request.read(limit + 1)
    if len(data) > limit:
        raise too_large(limit)
    return data


def too_large(limit: int) -> BodyTooLarge:
    """The error for a body over `limit` bytes."""
    message = (
        f"is over the limit of {limit:,} bytes. Store the data elsewhere and send a reference, send batches in parts, "
        "or raise HOLDFAST_PAYLOAD_LIMIT"
    )
    return BodyTooLarge(f"The body {message}.", errors=[{"field": "", "message": message}])


def _check_media_type(request: HttpRequest) -> None:
    declared = request.headers.get("Content-Type", "")
    kind, parameters = media_type(declared), declared.partition(";")[2]
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        shown = f"is {declared[:100]!r}" if declared else "is missing"
        raise refusal(UnsupportedMediaType, ("Content-Type", f"{shown}; send Content-Type: application/json"))
    if "charset" in parameters.lower() and "utf-8" not in parameters.lower():
        raise refusal(UnsupportedMediaType, ("Content-Type", "names another charset; JSON is UTF-8"))


def _fault(error: Any, value: Any, shape: type[BaseModel]) -> tuple[str, str]:
    field = _spell(error["loc"])
    match error["type"]:
        case "extra_forbidden":
            return field, f"is no field here; known are {', '.join(_known(shape, error['loc'][:-1]))}"
        case "missing":
            return field, "is missing"
        case "dict_type" | "model_type" | "model_attributes_type":
            return field, "must be an object"
        case "list_type":
            return field, "must be a list"
        case "string_type":
            return field, "must be text"
        case "bool_type" | "literal_error":
            return field, f"is not allowed; {error['msg'][0].lower()}{error['msg'][1:]}"
        case _:
            return field, f"does not fit: {error['msg'][0].lower()}{error['msg'][1:]}"


def _known(shape: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The fields of the model at `path`: the shape's own, or those of the items of its list."""
    for part in path:
        if isinstance(part, str) and part in shape.model_fields:
            inner = getattr(shape.model_fields[part].annotation, "__args__", (None,))[0]
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                shape = inner
    return list(shape.model_fields)


def _spell(path: Sequence[str | int]) -> str:
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part if len(part) <= MAX_FIELD else part[:MAX_FIELD] + '…'}"
        for part in path
    )
    return "".join(parts).removeprefix(".")


def _example(shape: type[BaseModel]) -> str:
    examples = shape.model_config.get("json_schema_extra")
    return json.dumps(examples["example"] if isinstance(examples, dict) and "example" in examples else {})


def too_large_body(limit: int) -> bytes:
    """The problem that `holdfast.bodylimit` answers with."""
    error = too_large(limit)
    return problem_body(error.status, error.code, str(error), error.data["errors"])
