"""Errors as `application/problem+json` (RFC 9457): {type, title, status, detail, errors, code}.

`code` is for programs and stays as it is; `detail` is for people; `errors` lists {field, message}, and those of
a search with their place in it: {field, message, at, length, suggestion}.
"""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from pydantic_core import to_json

from holdfast import db
from holdfast.access.bearer import CHALLENGE
from holdfast.access.errors import AccessError, ChangedMeanwhile, GrantMissing, InvalidInput, NotAuthenticated
from queues.errors import QueueError
from runs.errors import HoldfastError

logger = logging.getLogger("holdfast.api")

CONTENT_TYPE = "application/problem+json"
MAX_ERRORS = 100


class UnsupportedMediaType(HoldfastError):
    """The body is not declared as JSON."""

    status, code = 415, "unsupported_media_type"


class BodyTooLarge(HoldfastError):
    """The body is over the limit."""

    status, code = 413, "body_too_large"


class InvalidBody(HoldfastError):
    """The body is JSON of another shape than this address takes. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_body"


class InvalidHeader(HoldfastError):
    """A header does not fit. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_header"


class InvalidId(HoldfastError):
    """The address names something in a form that cannot exist. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_id"


class CsrfMissing(HoldfastError):
    """A change by a signed-in browser needs the page's CSRF token in the header X-CSRFToken. Programs use a token."""

    status, code = 403, "csrf_missing"


def refusal(kind: type[HoldfastError], *faults: tuple[str, str]) -> HoldfastError:
    """An error of `kind` from (field, message) pairs; its text says them all."""
    text = "; ".join(f"{field} {message}" if field else message for field, message in faults[:5])
    return kind(f"{text}.", errors=[{"field": field, "message": message} for field, message in faults])


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Iterable[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """The response that says one problem."""
    return HttpResponse(
        problem_body(status, code, detail, errors), status=status, content_type=CONTENT_TYPE, headers=headers
    )


def problem_body(status: int, code: str, detail: str, errors: Iterable[Mapping[str, Any]] = ()) -> bytes:
    """The problem as JSON."""
    return to_json(_fields(status, code, detail, errors))


def fields_of(error: HoldfastError) -> dict[str, Any]:
    """What the problem of this error says."""
    return _fields(error.status, error.code, str(error), error.data.get("errors") or ())


def _fields(status: int, code: str, detail: str, errors: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Characters that no JSON may hold are replaced: they come from what was refused."""
    listed = [_listed(e) for e in list(errors)[:MAX_ERRORS]]
    return {
        "type": f"urn:holdfast:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": _clean(detail),
        "errors": listed,
        "code": code,
    }


def _listed(error: Mapping[str, Any]) -> dict[str, Any]:
    """The field and the message; the place and what is better, where the error is one of a search."""
    texts = {name: _clean(str(error.get(name, ""))) for name in ("field", "message")}
    places = {name: error[name] for name in ("at", "length") if name in error}
    better = {"suggestion": _clean(str(error["suggestion"]))} if "suggestion" in error else {}
    return {**texts, **places, **better}


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def of(error: Exception) -> HttpResponse:
    """The response for an error; what is nobody's fault but ours is logged and tells nothing."""
    match error:
        case HoldfastError() if error.retry_after is not None:
            return problem(error.status, error.code, str(error), headers={"Retry-After": str(error.retry_after)})
        case HoldfastError() | QueueError():
            return problem(error.status, error.code, str(error), error.data.get("errors") or ())
        case NotAuthenticated():
            return problem(401, error.code, str(error), headers={"WWW-Authenticate": CHALLENGE})
        case GrantMissing():
            return problem(403, error.code, str(error))
        case ChangedMeanwhile():
            return problem(409, error.code, str(error))
        case InvalidInput():
            return problem(422, error.code, str(error), [{"field": error.field, "message": error.problem}])
        case AccessError():
            return problem(400, error.code, str(error))
        case ValidationError():
            return problem(422, "invalid_request", "The request does not fit.", map(_ninja_fault, error.errors))
        case HttpError():
            status = HTTPStatus(error.status_code)
            return problem(status, status.name.lower(), str(error))
        case Http404():
            return problem(404, "not_found", "There is nothing at this address. /api/v1/openapi.json lists what is.")
        case RequestDataTooBig():
            return problem(413, BodyTooLarge.code, "The request is over the limit. Send JSON, in parts.")
        case SuspiciousOperation() | UnreadablePostError():
            return problem(400, "bad_request", "The request cannot be read.")
        case DatabaseError() if db.is_passing(error):
            db.drop_callers_if_read_only(error)
            logger.warning("the database refused: %s", str(error).strip())
            return problem(
                503,
                "database_refuses",
                f"The database refuses at the moment: {str(error).strip().splitlines()[0]}. Nothing was changed. "
                "Try again later.",
                headers={"Retry-After": "5"},
            )
        case OperationalError() | InterfaceError():
            logger.warning("the database did not answer: %s", str(error).strip())
            return problem(
                503, "database_unavailable", "The database does not answer. Try again.", headers={"Retry-After": "1"}
            )
        case _:
            logger.error("unexpected error in the API", exc_info=error)
            return problem(500, "internal_error", "Holdfast failed. The server's log has the cause.")


def install(api: NinjaAPI) -> None:
    """Makes the API answer every error so."""
    # The lookup goes by class, nearest first, so ninja's own handlers have to be replaced one by one.
    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, _handle)


def _handle(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    assert isinstance(error, Exception)
    return of(error)


def _ninja_fault(fault: Mapping[str, Any]) -> dict[str, str]:
    return {"field": ".".join(str(part) for part in fault.get("loc", ())[1:]), "message": str(fault.get("msg", ""))}
