"""Text becomes terms. Lark reads the grammar, and says at which character something else stands than may stand there.

    search  = [term { space term }]
    term    = ["-"] ( name ":" [ ">" | ">=" | "<" | "<=" ] value { "," value } | word { "," word } )
    name    = one of terms.FIELDS, or payload.key.key
    value   = text without spaces, commas and quotes, or "in quotes", where \\" and \\\\ stand for " and \\
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Final

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from holdfast.redaction import hides
from runs.errors import InvalidFilter
from runs.models import STATUSES
from runs.search import values
from runs.search.terms import FIELDS, NAMES, PAYLOAD, STATES, WORD, Comparing, Field, Term, Value, is_id

MAX_SEARCH: Final = 4_000
MAX_TERMS: Final = 40
MAX_VALUES: Final = 20
MAX_VALUE: Final = 200
MAX_PATH: Final = 10

GRAMMAR: Final = r"""
    start: _SPACE? (term (_SPACE term)*)? _SPACE?
    term: MINUS? (field | words)
    field: NAME OP? _value ("," _value)*
    words: _word ("," _word)*
    _value: QUOTED | TEXT
    _word: QUOTED | WORD

    MINUS: "-"
    OP: />=|<=|>|</
    NAME.2: /[^\s",:.<>-][^\s",:.<>]*(\.("([^"\\]|\\.)*"|[^\s",:.]+))*:/
    QUOTED: /"([^"\\]|\\.)*"/
    TEXT: /[^\s",<>][^\s",]*/
    WORD: /[^\s",:<>-][^\s",:]*/
    _SPACE: /\s+/
"""
_SEGMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^".]+)')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with some characters of a search, and what could stand there instead."""

    at: int
    length: int
    message: str
    suggestion: str | None = None

    def as_error(self) -> dict[str, str | int]:
        error: dict[str, str | int] = {"field": "q", "message": self.message, "at": self.at, "length": self.length}
        return {**error, "suggestion": self.suggestion} if self.suggestion else error


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a search; none when it is empty.

    Raises:
        InvalidFilter: `data["errors"]` lists {field: "q", message, at, length, suggestion}; `at` is the index of the
            first character that is meant, and always one of the text's.
    """
    if len(text) > MAX_SEARCH:
        raise refusal(
            text, [Fault(MAX_SEARCH, 1, f"is the {MAX_SEARCH + 1:,}th character; write at most {MAX_SEARCH:,}")]
        )
    for at, character in enumerate(text):
        if not character.isprintable() and not character.isspace():
            raise refusal(text, [Fault(at, 1, "is a control character; write plain text")])
    try:
        tree = _reader().parse(text)
    except UnexpectedInput as error:
        raise refusal(text, [_explain(text, error)]) from None
    faults: list[Fault] = []
    terms = [term for part in tree.children if isinstance(part, Tree) and (term := _term(part, faults))]
    if len(terms) > MAX_TERMS:
        faults.append(Fault(0, len(text), f"has {len(terms)} terms; write at most {MAX_TERMS}"))
    if faults:
        raise refusal(text, faults)
    return tuple(dict.fromkeys(terms))


def refusal(text: str, faults: list[Fault]) -> InvalidFilter:
    """The error that says these faults of a search."""
    first = faults[0]
    more = f"; {len(faults) - 1} more like it" if len(faults) > 1 else ""
    shown = text[first.at : first.at + first.length]
    shown = repr(shown if len(shown) <= 60 else shown[:60] + "…")
    return InvalidFilter(
        f"The search cannot be read at character {first.at + 1}: {shown} {first.message}{more}.",
        errors=[fault.as_error() for fault in faults],
        q=text,
    )


@cache
def _reader() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual")


def _explain(text: str, error: UnexpectedInput) -> Fault:
    """What the reader stumbled over, in words: it knows the place, and which tokens would have done."""
    at = error.pos_in_stream if error.pos_in_stream is not None else len(text)
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        at = len(text)
    before = text[:at].rstrip()
    here = text[at : at + 1]
    if not here or here.isspace():
        # Something is missing: the term to which it belongs is what is meant.
        begin = max((m.start() for m in re.finditer(r"\S+", before)), default=0)
        length = max(len(before) - begin, 1)
        if before.endswith("-"):
            return Fault(len(before) - 1, 1, "has nothing behind it; write the term that runs must not fit")
        return Fault(begin, length, "has no value; write one behind it")
    if here == '"':
        inside = before == text[:at] and before and before[-1] not in ":,-<>="
        if inside:
            return Fault(at, 1, "begins inside of a value; put all of it in quotes")
        return Fault(at, 1, "is a quote that is not closed")
    messages = {
        ",": "has no value before it",
        ":": "stands where no name is; put a value that has a colon in quotes",
        "-": "is one minus too many",
        "<": "compares nothing; put a value that has it in quotes",
        ">": "compares nothing; put a value that has it in quotes",
    }
    return Fault(at, 1, messages.get(here, "stands where a term has ended; write a space before it"))


def _term(tree: Tree[Token], faults: list[Fault]) -> Term | None:
    negated = tree.children[0] == "-"
    part = tree.children[-1]
    assert isinstance(part, Tree)
    tokens = [token for token in part.children if isinstance(token, Token)]
    if part.data == "words":
        return _words(tokens, negated, faults)
    name, op, items = tokens[0], "", tokens[1:]
    if items[0].type == "OP":
        op, items = str(items[0]), items[1:]
    field, path = _field(name, faults)
    if field is None:
        return None
    found = _values(field, items, faults)
    known = FIELDS.get(field)
    must = known is not None and known.compares is Comparing.MUST
    if must and not op and found:
        faults.append(_over(name, items[-1], f"needs > or <, as in {known.example}", f"{name}>{items[0]}"))  # type: ignore[union-attr]
    elif op and (fault := _comparison(field, known, op, found, name, items)):
        faults.append(fault)
    return Term(field, tuple(dict.fromkeys(found)), op, negated, path) if found else None


def _comparison(
    field: str, known: Field | None, op: str, found: list[Value], name: Token, items: list[Token]
) -> Fault | None:
    if known is not None and known.compares is Comparing.NO:
        return _over(name, items[-1], f"cannot be compared by {op}", f"{name}{items[0]}")
    if len(items) > 1:
        return _over(items[1], items[-1], f"is one value too many beside {op}")
    if field == PAYLOAD and found and not (isinstance(found[0], values.Json) and found[0].number):
        return _over(items[0], items[0], f"is no number; {op} compares numbers")
    return None


def _words(items: list[Token], negated: bool, faults: list[Fault]) -> Term | None:
    ids = [item.type == "WORD" and is_id(item) for item in items]
    field = "id" if all(ids) else WORD
    found = _values(field, items, faults)
    return Term(field, tuple(dict.fromkeys(found)), negated=negated) if found else None


def _field(name: Token, faults: list[Fault]) -> tuple[str | None, tuple[str, ...]]:
    """The name of a field, and the path behind `payload`."""
    head, *path = _segments(name)
    if head in FIELDS and not path:
        return head, ()
    where = (name.start_pos or 0, len(name))
    if head == PAYLOAD and path and len(path) <= MAX_PATH:
        if hides(path):
            faults.append(Fault(*where, "is a value that is shown to nobody (HOLDFAST_REDACT); search for another one"))
            return None, ()
        return PAYLOAD, tuple(path)
    if head == PAYLOAD:
        wrong = f"has more than {MAX_PATH} keys" if path else "has no key; write one, as in payload.user.id:42"
        faults.append(Fault(*where, wrong))
        return None, ()
    near = get_close_matches(head.lower(), (*FIELDS, PAYLOAD), n=1)
    better = ("payload." if near[0] == PAYLOAD else f"{near[0]}:") if near else None
    hint = f"did you mean {better}?" if better else f"known are {', '.join(NAMES)}"
    whole = better and not path
    faults.append(Fault(*where, f"is no term; {hint}", better if whole and near[0] != PAYLOAD else None))
    return None, ()


def _segments(name: Token) -> Iterator[str]:
    for match in _SEGMENT.finditer(name[:-1]):
        yield match[2] if match[2] is not None else _ESCAPED.sub(r"\1", match[1])


def _values(field: str, items: list[Token], faults: list[Fault]) -> list[Value]:
    found: list[Value] = []
    if len(items) > MAX_VALUES:
        faults.append(_over(items[MAX_VALUES], items[-1], f"is more than {MAX_VALUES} values"))
    for item in items:
        is_quoted = item.type == "QUOTED"
        text = _ESCAPED.sub(r"\1", item[1:-1]) if is_quoted else str(item)
        if len(text) > MAX_VALUE:
            faults.append(_over(item, item, f"has {len(text):,} characters; write at most {MAX_VALUE}"))
        elif any(c.isspace() and not c.isprintable() for c in text):
            faults.append(_over(item, item, "holds a line break or another space that no value has"))
        elif field == PAYLOAD:
            found.append(values.scalar(text, quoted=is_quoted))
        elif not text.strip():
            faults.append(_over(item, item, "is empty"))
        elif field == WORD:
            found.append(text)
        else:
            _read(field, item, text, found, faults)
    return found


def _read(field: str, item: Token, text: str, found: list[Value], faults: list[Fault]) -> None:
    known = FIELDS[field]
    try:
        found.append(known.read(text))
    except (ValueError, OverflowError):
        named = {"status": STATUSES, "is": STATES}.get(field, ())
        near = get_close_matches(text.lower(), named, n=1)
        hint = f"did you mean {near[0]}?" if near else f"write {known.wants}"
        faults.append(_over(item, item, f"does not fit {field}; {hint}", near[0] if near else None))


def _over(first: Token, last: Token, message: str, suggestion: str | None = None) -> Fault:
    start = first.start_pos or 0
    return Fault(start, (last.end_pos or start + 1) - start, message, suggestion)
