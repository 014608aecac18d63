"""From a task's JSON Schema to a form and back: what the page *Try it* shows and reads.

`build` turns a schema (and, after a refusal, the values and errors of the last try) into a tree of `Field`s for the
template; `read` turns what the browser posts into the payload. Nothing is validated here: the payload goes the same
way as any other, and `errors` of the refusal come back to the fields they name. What has no widget of its own (unions,
free objects, tuples, recursion) is a text area that takes JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import quote

Schema = Mapping[str, Any]
Path = tuple[str, ...]
Kind = Literal["text", "textarea", "integer", "number", "boolean", "choice", "date", "time", "object", "array", "json"]

ROOT = "payload"
MAX_DEPTH = 6
MAX_ITEMS = 200
#: Stands for the item's number in the template from which the browser makes a new item.
NEW_ITEM = "__new__"
#: Suffixes of controls that say something about their field: "it is here" and "it has a value".
SHOWN, SET = "~shown", "~set"

_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_PLACES = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_FORMATS: dict[str, Kind] = {"date": "date", "time": "time"}
_TYPES: dict[str, Kind] = {"boolean": "boolean", "integer": "integer", "number": "number", "string": "text"}


class Posted(Protocol):
    """What `read` needs of a QueryDict."""

    def get(self, key: str, default: str) -> Any: ...
    def __contains__(self, key: object, /) -> bool: ...
    def keys(self) -> Any: ...


@dataclass(slots=True)
class Choice:
    value: str  # JSON text, so that 1 and "1" differ
    label: str
    selected: bool = False


@dataclass(slots=True)
class Field:
    """One control, or a group of them, as the template draws it."""

    path: Path
    kind: Kind
    label: str
    required: bool
    nullable: bool
    help: str = ""
    value: str = ""
    checked: bool = False
    present: bool = True  # an optional group that is filled in
    choices: list[Choice] = field(default_factory=list)
    attrs: dict[str, str] = field(default_factory=dict)
    children: list[Field] = field(default_factory=list)
    blank: Field | None = None  # what a new item of an array looks like
    errors: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return _name(self.path)

    @property
    def id(self) -> str:
        return self.name.replace("/", "-").replace("%", "_")

    @property
    def optional_group(self) -> bool:
        return self.kind == "object" and len(self.path) > 1 and not self.required

    @property
    def is_group(self) -> bool:
        return self.kind in ("object", "array")


@dataclass(frozen=True, slots=True)
class _Missing:
    pass


MISSING = _Missing()


def build(schema: Schema, value: Any = MISSING, errors: Iterable[Mapping[str, str]] = ()) -> Field:
    """Returns the root group. `value` is the payload to fill in, else defaults; `errors` are {field, message} pairs.

    Errors that name no field of the form stay with the nearest group around, in the end with the root.
    """
    root = _field((ROOT,), schema, schema, value, required=True, depth=0)
    for error in errors:
        _place_error(root, _split(error.get("field", "")), str(error.get("message", "")))
    return root


def read(schema: Schema, posted: Posted) -> Any:
    """Returns the payload that a posted form means. What cannot be read as its type stays text, for the refusal."""
    root = _field((ROOT,), schema, schema, MISSING, required=True, depth=0)
    value = _read(root, schema, schema, posted)
    return {} if value is MISSING else value


# --- building ---------------------------------------------------------------------------------------------------------


def _field(path: Path, schema: Schema, root: Schema, value: Any, *, required: bool, depth: int) -> Field:
    shape, nullable = _resolve(schema, root)
    kind = _kind(shape, root, depth)
    made = Field(
        path=path,
        kind=kind,
        label=_label(shape, path[-1]),
        required=required,
        nullable=nullable,
        help=str(shape.get("description", "")),
    )
    if value is MISSING:
        value = shape.get("default", MISSING)
        made.present = required or value not in (MISSING, None)
    else:
        made.present = value is not None
    if kind == "object":
        _add_properties(made, shape, root, value, depth)
    elif kind == "array":
        _add_items(made, shape, root, value, depth)
    else:
        _fill(made, shape, value)
    return made


def _add_properties(made: Field, shape: Schema, root: Schema, value: Any, depth: int) -> None:
    values = value if isinstance(value, Mapping) else {}
    needed = shape.get("required", ())
    for name, part in _in_order(shape):
        given = values.get(name, MISSING)
        made.children.append(_field((*made.path, name), part, root, given, required=name in needed, depth=depth + 1))


def _in_order(shape: Schema) -> list[tuple[str, Schema]]:
    """The properties as code declares them, where the schema says so; otherwise the required ones first. (PostgreSQL's
    jsonb forgets the order of an object's fields, but not that of a list.)"""
    wanted = [*shape.get("propertyOrder", ()), *shape.get("required", ())]
    place = {name: number for number, name in reversed(list(enumerate(wanted)))}
    return sorted(shape.get("properties", {}).items(), key=lambda pair: place.get(pair[0], len(wanted)))


def _label(shape: Schema, name: str) -> str:
    """The title that code gives; Pydantic's own, made of the name, is not better than the name."""
    title = str(shape.get("title") or name)
    return name if title == name.replace("_", " ").title() else title


def _add_items(made: Field, shape: Schema, root: Schema, value: Any, depth: int) -> None:
    part = shape["items"]
    values = value if isinstance(value, list) else [MISSING] * int(shape.get("minItems", 0))
    for number, item in enumerate(values[:MAX_ITEMS]):
        made.children.append(_item(made, part, root, item, str(number), depth))
    made.blank = _item(made, part, root, MISSING, NEW_ITEM, depth)


def _item(made: Field, part: Schema, root: Schema, value: Any, number: str, depth: int) -> Field:
    item = _field((*made.path, number), part, root, value, required=True, depth=depth + 1)
    item.label = f"{made.label} {int(number) + 1}" if number.isdigit() else made.label
    return item


def _fill(made: Field, shape: Schema, value: Any) -> None:
    made.attrs = _attrs(made.kind, shape)
    if made.kind == "boolean":
        made.checked = value is True
        if made.nullable:
            made.kind = "choice"
            made.choices = _choices([True, False], value, blank=True)
    elif made.kind == "choice":
        options = shape["enum"] if "enum" in shape else [shape["const"]]
        made.choices = _choices([o for o in options if o is not None], value, blank=not made.required or made.nullable)
    elif value is MISSING or value is None:
        made.value = ""
    elif made.kind == "json" or not isinstance(value, str):
        made.value = value if made.kind == "json" and isinstance(value, _Raw) else _dump(value)
    else:
        made.value = value


def _choices(options: Sequence[Any], value: Any, *, blank: bool) -> list[Choice]:
    made = [Choice(_dump(o), o if isinstance(o, str) else _dump(o)) for o in options]
    chosen = "" if value is MISSING or value is None else _dump(value)
    if blank:
        made.insert(0, Choice("", "—"))
    for choice in made:
        choice.selected = choice.value == chosen
    return made


def _attrs(kind: Kind, shape: Schema) -> dict[str, str]:
    names = {"minLength": "minlength", "maxLength": "maxlength"}
    attrs = {html: str(shape[name]) for name, html in names.items() if name in shape} if kind == "text" else {}
    if kind in ("integer", "number"):
        attrs["inputmode"] = "numeric" if kind == "integer" else "decimal"
    if example := next(iter(shape.get("examples", ())), None):
        attrs["placeholder"] = example if isinstance(example, str) else _dump(example)
    elif shape.get("format") == "date-time":
        attrs["placeholder"] = "2026-03-01T12:00:00Z"
    return attrs


def _resolve(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """Follows references and takes the null out of unions. Returns the shape and whether null is allowed."""
    shape: dict[str, Any] = dict(schema)
    nullable = False
    for _ in range(20):  # a reference to itself ends here
        if "$ref" in shape:
            shape = {**_referred(str(shape["$ref"]), root), **_without(shape, "$ref")}
        elif len(shape.get("allOf", ())) == 1:
            shape = {**shape["allOf"][0], **_without(shape, "allOf")}
        elif union := shape.get("anyOf") or shape.get("oneOf"):
            rest = [part for part in union if part.get("type") != "null"]
            nullable = nullable or len(rest) < len(union)
            if len(rest) != 1:
                return shape, nullable
            shape = {**rest[0], **_without(shape, "anyOf", "oneOf")}
        elif isinstance(shape.get("type"), list):
            rest = [name for name in shape["type"] if name != "null"]
            nullable = nullable or len(rest) < len(shape["type"])
            shape["type"] = rest[0] if len(rest) == 1 else None
        else:
            break
    return shape, nullable or shape.get("type") == "null"


def _referred(ref: str, root: Schema) -> Schema:
    found: Any = root
    for part in ref.removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _without(schema: Schema, *names: str) -> dict[str, Any]:
    return {name: part for name, part in schema.items() if name not in names}


def _kind(shape: Schema, root: Schema, depth: int) -> Kind:
    if "enum" in shape or "const" in shape:
        return "choice"
    of_type = shape.get("type")
    if of_type == "object" or (depth == 0 and "properties" in shape):
        fits = depth < MAX_DEPTH and shape.get("properties")
        return "object" if fits or depth == 0 else "json"
    if of_type == "array":
        return "array" if depth < MAX_DEPTH and isinstance(shape.get("items"), Mapping) else "json"
    if of_type == "string":
        long = int(shape.get("maxLength", 0)) > 300
        return _FORMATS.get(str(shape.get("format")), "textarea" if long else "text")
    return _TYPES.get(str(of_type), "json")


# --- reading ----------------------------------------------------------------------------------------------------------


class _Raw(str):
    """Text of a JSON field that is not JSON; shown again as it was typed."""

    __slots__ = ()


def _read(made: Field, schema: Schema, root: Schema, posted: Posted) -> Any:
    shape, _ = _resolve(schema, root)
    if made.kind == "object":
        return _read_object(made, shape, root, posted)
    if made.kind == "array":
        return _read_array(made, shape, root, posted)
    if made.kind == "boolean":
        return made.name in posted if made.name + SHOWN in posted or made.required else MISSING
    text = posted.get(made.name, "")
    # An empty control means "not given" where a value is needed or a default stands ready; where the form showed a
    # default that was then emptied, it means the empty text, unless there is null to say that better.
    if text == "":
        if made.nullable:
            return None
        return "" if made.kind in ("text", "textarea") and made.value and made.name in posted else MISSING
    return _scalar(made.kind, text)


def _read_object(made: Field, shape: Schema, root: Schema, posted: Posted) -> Any:
    if made.optional_group and made.name + SET not in posted:
        return None if made.nullable and made.name + SHOWN in posted else MISSING
    value = {}
    for child in made.children:
        name = child.path[-1]
        part = _read(child, shape["properties"][name], root, posted)
        if part is not MISSING:
            value[name] = part
    return value


def _read_array(made: Field, shape: Schema, root: Schema, posted: Posted) -> Any:
    depth = len(made.path) - 1
    prefix = made.name + "/"
    firsts = {key[len(prefix) :].split("/")[0].split("~")[0] for key in posted.keys() if key.startswith(prefix)}  # noqa: SIM118 - not every Posted iterates
    numbers = sorted((n for n in firsts if n.isdigit() and len(n) < 6), key=int)[:MAX_ITEMS]
    if not numbers and not made.required and made.name + SHOWN not in posted:
        return MISSING
    if not numbers and made.nullable:
        return None
    items = []
    for number in numbers:
        item = _item(made, shape["items"], root, MISSING, number, depth)
        part = _read(item, shape["items"], root, posted)
        items.append("" if part is MISSING and item.kind in ("text", "textarea") else part)
    return [None if item is MISSING else item for item in items]


def _scalar(kind: Kind, text: str) -> Any:
    text = text.replace("\r\n", "\n")
    stripped = text.strip()
    if kind in ("integer", "number"):
        if _INTEGER.fullmatch(stripped):
            return int(stripped)
        return text if kind == "integer" else _number(stripped, text)
    if kind in ("choice", "json"):
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _Raw(text)
    return text


def _number(stripped: str, text: str) -> Any:
    try:
        value = float(stripped)
    except ValueError:
        return text
    return value if value - value == 0 else text  # neither infinite nor NaN


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# --- names and errors -------------------------------------------------------------------------------------------------


def unread(value: Any, path: Path = ()) -> list[dict[str, str]]:
    """Errors for the JSON fields of a payload that hold no JSON: {field, message} like those of a refusal."""
    if isinstance(value, _Raw):
        return [{"field": ".".join(path), "message": "is not JSON; quote texts, and write true, false or null"}]
    if isinstance(value, Mapping):
        return [error for name, part in value.items() for error in unread(part, (*path, str(name)))]
    if isinstance(value, list):
        return [error for number, part in enumerate(value) for error in unread(part, (*path, str(number)))]
    return []


def _place_error(root: Field, places: Sequence[str], message: str) -> None:
    spot, left = root, list(places)
    if left[:1] == [ROOT] and ROOT not in {child.path[-1] for child in root.children}:
        left.pop(0)
    while left:
        inner = next((child for child in spot.children if child.path[-1] == left[0]), None)
        if inner is None:
            break
        spot, _ = inner, left.pop(0)
    if left and spot.is_group:
        message = f"{_spell(left)}: {message}"
    spot.present = True
    spot.errors.append(message)
    for depth in range(2, len(spot.path)):  # open the groups around it
        _at(root, spot.path[:depth]).present = True


def _at(root: Field, path: Path) -> Field:
    spot = root
    for place in path[1:]:
        spot = next(child for child in spot.children if child.path[-1] == place)
    return spot


def _split(name: str) -> list[str]:
    """The places of `a.b[2].c` or `a.b.2.c`."""
    return [first or second for first, second in _PLACES.findall(name)]


def _spell(places: Sequence[str]) -> str:
    return ".".join(places)


def _name(path: Path) -> str:
    return "/".join(quote(part, safe="").replace("~", "%7E") for part in path)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
