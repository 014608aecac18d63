"""What a term asks of a run, as a condition of SQL, and what that says of the run's id, which is its time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BooleanField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    JSONField,
    OuterRef,
    Q,
    TextField,
    Value,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact, GreaterThan, GreaterThanOrEqual, In, LessThan, LessThanOrEqual

from queues.models import Entry, Queue, Worker
from runs.models import Task
from runs.search.terms import PAYLOAD, WORD, Term
from runs.search.values import Json, Moment, first_id
from runs.states import Status
from runs.stuck.model import Stuck

#: A run's id holds the clock of the moment it was written, `created_at` that of its statement's begin: a bulk enqueue
#: may write its last id this much later.
ID_LAG: Final = timedelta(minutes=1)
#: Lives of workers of one name, and tasks with a word in their id, that are looked for.
MAX_LIVES: Final = 1_000
MAX_TASKS: Final = 1_000

NOTHING: Final = Q(pk__in=[])
#: What a run may be that has an entry: one that was put down or failed keeps its status until a worker has it again.
READY: Final = (str(Status.QUEUED), str(Status.RETRYING), str(Status.WAITING))
_LOOKUPS: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_COMPARED: Final[dict[str, Any]] = {
    ">": GreaterThan,
    ">=": GreaterThanOrEqual,
    "<": LessThan,
    "<=": LessThanOrEqual,
    "": Exact,
}
#: Fields of a term that are one column of a run, whose index gives runs in the order of their ids.
COLUMNS: Final = {
    "id": "pk",
    "parent": "parent_id",
    "key": "concurrency_key",
    "error": "error",
    "worker": "worker_id",
    "status": "status",
    "version": "version",
    "task": "task_id",
    "queue": "queue_id",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A term of which names have become keys: `keys` are what the column may be."""

    field: str
    q: Q
    keys: tuple[Any, ...] = ()  # of a term that is one of COLUMNS, and not negated
    ids: Q | None = None  # what follows from it for the id
    timed: bool = False  # that is as much as it asks for, but for a minute
    negated: bool = False
    retried: bool = False  # it asks for runs that were tried more than once
    tags: tuple[str, ...] = ()  # of a term that asks for one of these
    few: bool = False  # a small table has all that fit

    @property
    def never(self) -> bool:
        """No run fits: nothing has that name."""
        return self.field in COLUMNS and not self.keys and self.q == NOTHING


def condition(term: Term, now: datetime) -> Condition:
    """The condition of a term. Names of queues and workers, and words, are looked up."""
    if term.field in {*COLUMNS, WORD}:
        field = "task" if term.field == WORD else term.field
        keys = tuple(_keys(term))
        q = column_is(field, keys) if keys else NOTHING
        return Condition(field, _not(q), negated=True) if term.negated else Condition(field, q, keys)
    q, ids = _CONDITIONS[term.field](term, now)
    if term.negated:
        return Condition(term.field, _not(q), negated=True)
    timed = term.field in {"age", "created"} and len(term.values) == 1
    tags = tuple(map(str, term.values)) if term.field == "tag" else ()
    few = term.field == "is" and set(term.values) == {"stuck"}
    return Condition(term.field, q, ids=ids, timed=timed, retried=_is_retried(term), tags=tags, few=few)


def implied(term: Term) -> list[Condition]:
    """What follows from a term for a column that has an index: who is ready has one of a few statuses."""
    if term.field != "is" or term.negated or set(term.values) != {"ready"}:
        return []
    return [Condition("status", column_is("status", READY), READY)]


def column_is(field: str, keys: tuple[Any, ...]) -> Q:
    """The column of a field has one of these. Its shape is the one for which the index is made."""
    if field == "error":
        fingerprint: Any = KeyTextTransform("fingerprint", "error")
        return Q(Exact(fingerprint, keys[0])) if len(keys) == 1 else Q(In(fingerprint, list(keys)))
    name = COLUMNS[field]
    return Q(**{name: keys[0]}) if len(keys) == 1 else Q(**{f"{name}__in": keys})


def _keys(term: Term) -> list[Any]:
    names = list(term.values)
    if term.field == "queue":
        return list(Queue.objects.filter(name__in=names).values_list("id", flat=True))
    if term.field == "worker":
        return list(Worker.objects.filter(name__in=names).order_by("-id").values_list("id", flat=True)[:MAX_LIVES])
    if term.field == WORD:
        parts: Q = reduce(lambda left, right: left | right, (Q(id__icontains=name) for name in names))
        return list(Task.objects.filter(parts).order_by("id").values_list("id", flat=True)[:MAX_TASKS])
    return names


def _not(q: Q) -> Q:
    """Not so, which is the case for what has no value too."""
    return ~Q(Coalesce(ExpressionWrapper(q, BooleanField()), Value(False), output_field=BooleanField()))


def _tag(term: Term, _: datetime) -> tuple[Q, None]:
    # The index leaves untagged runs out.
    return Q(tags__overlap=list(term.values)) & ~Q(tags=[]), None


def _is(term: Term, _: datetime) -> tuple[Q, None]:
    found = Q()
    if "stuck" in term.values:  # the table holds some thousands of runs at most: `plan` begins there
        found |= Q(pk__in=Stuck.objects.filter(token=F("run__lease_token")).values("pk"))
    if "ready" in term.values:  # looked up by its primary key, for the runs that a walk passes
        found |= Q(Exists(Entry.objects.filter(pk=OuterRef("pk"))))
    return found, None


def _attempt(term: Term, _: datetime) -> tuple[Q, None]:
    if term.op:
        return Q(**{f"attempt__{_LOOKUPS[term.op]}": term.values[0]}), None
    return Q(attempt__in=term.values), None


def _is_retried(term: Term) -> bool:
    numbers = [value for value in term.values if isinstance(value, int)]
    return term.field == "attempt" and term.op in {"", ">", ">="} and min(numbers) + (term.op == ">") > 1


def _age(term: Term, now: datetime) -> tuple[Q, Q]:
    assert isinstance(term.values[0], timedelta)
    older = {">": "<", ">=": "<=", "<": ">", "<=": ">="}[term.op]
    try:
        at = now - term.values[0]
        first_id(at)
    except (ValueError, OverflowError):  # before there was anything
        at = datetime(1970, 1, 1, tzinfo=now.tzinfo)
    return Q(**{f"created_at__{_LOOKUPS[older]}": at}), _ids(at, upper=older.startswith("<"))


def _created(term: Term, _: datetime) -> tuple[Q, Q]:
    return _spans("created_at", term), _bounds(term, lower=True)


def _started(term: Term, _: datetime) -> tuple[Q, Q]:
    return _spans("started_at", term), _bounds(term, lower=False)


def _finished(term: Term, _: datetime) -> tuple[Q, Q]:
    return _spans("finished_at", term), _bounds(term, lower=False)


def _spans(column: str, term: Term) -> Q:
    """The time is within one of the moments, or before or after the one."""
    found = Q()
    for moment in term.values:
        assert isinstance(moment, Moment)
        match term.op:
            case ">":
                found |= Q(**{f"{column}__gte": moment.end})
            case ">=":
                found |= Q(**{f"{column}__gte": moment.start})
            case "<":
                found |= Q(**{f"{column}__lt": moment.start})
            case "<=":
                found |= Q(**{f"{column}__lt": moment.end})
            case _:
                found |= Q(**{f"{column}__gte": moment.start, f"{column}__lt": moment.end})
    return found


def _bounds(term: Term, *, lower: bool) -> Q:
    """A run is created before it ends, and its id is made when it is created: between which ids is it?"""
    moments = [moment for moment in term.values if isinstance(moment, Moment)]
    found = Q()
    if lower and term.op in {"", ">", ">="}:
        found &= _ids(min(m.end if term.op == ">" else m.start for m in moments), upper=False)
    if term.op in {"", "<", "<="}:
        found &= _ids(max(m.start if term.op == "<" else m.end for m in moments), upper=True)
    return found


def _ids(at: datetime, *, upper: bool) -> Q:
    if not upper:
        return Q(pk__gte=first_id(at))
    try:
        return Q(pk__lte=first_id(at + ID_LAG))
    except OverflowError:
        return Q()


def _duration(term: Term, now: datetime) -> tuple[Q, None]:
    return _lasted("started_at", term, now), None


def _total(term: Term, now: datetime) -> tuple[Q, None]:
    return _lasted("created_at", term, now), None


def _lasted(since: str, term: Term, now: datetime) -> Q:
    """So long it was from then to its end, or to now."""
    ended = Coalesce(F("finished_at"), Value(now))
    return Q(_COMPARED[term.op](ExpressionWrapper(ended - F(since), DurationField()), term.values[0]))


def _payload(term: Term, _: datetime) -> tuple[Q, None]:
    path = Value(list(term.path), ArrayField(TextField()))
    inside: Any = Func(F("payload"), path, template="(%(expressions)s)", arg_joiner=" #> ", output_field=JSONField())
    found = Q()
    for value in term.values:
        assert isinstance(value, Json)
        found |= Q(_COMPARED[term.op](inside, _json(value.text)))
    if term.op:  # jsonb has an order over all its types
        found &= Q(Exact(Func(inside, function="jsonb_typeof", output_field=TextField()), "number"))
    return found, None


def _json(text: str) -> Any:
    return Func(Value(text), template="(%(expressions)s)::jsonb", output_field=JSONField())


_CONDITIONS: Final[dict[str, Any]] = {
    "is": _is,
    "tag": _tag,
    "attempt": _attempt,
    "age": _age,
    "created": _created,
    "started": _started,
    "finished": _finished,
    "duration": _duration,
    "total": _total,
    PAYLOAD: _payload,
}
