from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from runs import schema_form
from runs.schema_form import Field as FormField


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Window(BaseModel):
    start: date
    days: int = 7
    label: str | None = None


class Node(BaseModel):
    name: str
    child: "Node | None" = None


class Payload(TypedDict):
    topic: str
    depth: NotRequired[int]
    ratio: NotRequired[float]
    loud: NotRequired[bool]
    maybe: NotRequired[bool | None]
    colour: NotRequired[Colour]
    size: NotRequired[Literal[1, "1", 2]]
    window: NotRequired[Window]
    windows: NotRequired[list[Window]]
    names: NotRequired[list[str]]
    extra: NotRequired[dict[str, Any]]
    either: NotRequired[int | str]
    at: NotRequired[datetime]
    tree: NotRequired[Node]
    limit: NotRequired[int | None]


SCHEMA = TypeAdapter(Payload).json_schema()
SCHEMA["properties"]["depth"]["default"] = 3


def find(form: FormField, *path: str) -> FormField:
    for part in path:
        form = next(child for child in form.children if child.path[-1] == part)
    return form


def read(posted: Mapping[str, str], schema: schema_form.Schema = SCHEMA) -> Any:
    return schema_form.read(schema, dict(posted))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("topic", "text"),
        ("depth", "integer"),
        ("ratio", "number"),
        ("loud", "boolean"),
        ("maybe", "choice"),
        ("colour", "choice"),
        ("size", "choice"),
        ("window", "object"),
        ("windows", "array"),
        ("names", "array"),
        ("extra", "json"),
        ("either", "json"),
        ("at", "text"),
    ],
)
def test_each_type_gets_the_control_that_fits(name: str, kind: str) -> None:
    assert find(schema_form.build(SCHEMA), name).kind == kind


def test_a_default_is_filled_in_and_says_what_is_required() -> None:
    form = schema_form.build(SCHEMA)
    assert find(form, "depth").value == "3"
    assert find(form, "topic").required
    assert not find(form, "depth").required


def test_a_posted_form_becomes_the_payload_with_its_types() -> None:
    posted = {
        "payload/topic": "tides",
        "payload/depth": " 12 ",
        "payload/ratio": "0.5",
        "payload/loud": "on",
        "payload/colour": '"blue"',
        "payload/size": "2",
        "payload/window~set": "on",
        "payload/window/start": "2026-03-01",
        "payload/window/days": "2",
        "payload/windows/0/start": "2026-03-02",
        "payload/windows/10/start": "2026-03-03",
        "payload/names/0": "a",
        "payload/names/1": "b",
        "payload/extra": '{"n": 123456789012345678901234567890}',
        "payload/either": '"text"',
    }
    value = read(posted | {"payload/loud~shown": "1"})
    assert value == {
        "topic": "tides",
        "depth": 12,
        "ratio": 0.5,
        "loud": True,
        "maybe": None,
        "colour": "blue",
        "size": 2,
        "window": {"start": "2026-03-01", "days": 2, "label": None},
        "windows": [{"start": "2026-03-02", "label": None}, {"start": "2026-03-03", "label": None}],
        "names": ["a", "b"],
        "extra": {"n": 123456789012345678901234567890},
        "either": "text",
        "limit": None,
    }
    TypeAdapter(Payload).validate_python(value)


def test_what_is_left_empty_is_left_out_so_that_the_default_or_the_refusal_decides() -> None:
    assert read({"payload/topic": "", "payload/depth": "", "payload/ratio": ""}) == {"maybe": None, "limit": None}


def test_a_text_whose_default_was_emptied_is_the_empty_text() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}
    assert read({"payload/name": ""}, schema) == {"name": ""}
    assert read({}, schema) == {}


def test_an_unticked_box_is_false_and_an_absent_one_is_left_out() -> None:
    schema = {"type": "object", "properties": {"loud": {"type": "boolean", "default": True}}}
    assert read({"payload/loud~shown": "1"}, schema) == {"loud": False}
    assert read({}, schema) == {}


def test_an_emptied_list_is_an_empty_list() -> None:
    schema = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
    assert read({"payload/names~shown": "1"}, schema) == {"names": []}
    assert read({}, schema) == {}


@pytest.mark.parametrize("text", ["many", "1.5", "٣x", "1e400", "nan", "9" * 4001])
def test_what_is_no_number_stays_text_for_the_refusal(text: str) -> None:
    value = read({"payload/depth": text})
    assert value["depth"] == text


def test_values_and_errors_of_a_refusal_come_back_to_their_fields() -> None:
    payload = {"topic": "t", "depth": "many", "windows": [{"start": "soon"}], "window": {"days": 1}}
    errors = [
        {"field": "payload.depth", "message": "no integer"},
        {"field": "payload.windows[0].start", "message": "no date"},
        {"field": "payload.window.start", "message": "missing"},
        {"field": "payload.either.int", "message": "no integer either"},
        {"field": "payload.other", "message": "is unknown"},
        {"field": "payload", "message": "is odd"},
    ]
    form = schema_form.build(SCHEMA, payload, errors)
    assert (find(form, "depth").value, find(form, "depth").errors) == ("many", ["no integer"])
    assert find(form, "windows", "0", "start").errors == ["no date"]
    assert find(form, "window").present
    assert find(form, "window", "start").errors == ["missing"]
    assert find(form, "either").errors == ["no integer either"]
    assert form.errors == ["other: is unknown", "is odd"]


def test_json_that_is_none_is_shown_again_as_typed_with_an_error() -> None:
    value = read({"payload/topic": "t", "payload/extra": "{broken"})
    errors = schema_form.unread(value)
    assert [error["field"] for error in errors] == ["extra"]
    form = schema_form.build(SCHEMA, value, errors)
    assert find(form, "extra").value == "{broken"
    assert "not JSON" in find(form, "extra").errors[0]


@pytest.mark.parametrize("text", ["NaN", "[" * 20_000, "Infinity"])
def test_json_fields_never_break_the_reader(text: str) -> None:
    assert schema_form.unread(read({"payload/extra": text}))


def test_choices_keep_their_types() -> None:
    form = schema_form.build(SCHEMA, {"size": "1"})
    assert [(c.value, c.selected) for c in find(form, "size").choices] == [
        ("", False),
        ("1", False),
        ('"1"', True),
        ("2", False),
    ]


def test_recursion_ends_in_json() -> None:
    form = find(schema_form.build(SCHEMA), "tree")
    depth = 0
    while form.kind == "object":
        form = find(form, "child")
        depth += 1
    assert form.kind == "json"
    assert 1 < depth <= schema_form.MAX_DEPTH


def test_a_reference_to_itself_ends() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}
    assert find(schema_form.build(schema), "a").kind == "json"


def test_an_optional_group_is_closed_until_it_has_values() -> None:
    assert not find(schema_form.build(SCHEMA), "window").present
    assert find(schema_form.build(SCHEMA, {"window": {"days": 2}}), "window").present


def test_a_new_item_has_a_place_for_its_number() -> None:
    blank = find(schema_form.build(SCHEMA), "windows").blank
    assert blank is not None
    assert find(blank, "start").name == f"payload/windows/{schema_form.NEW_ITEM}/start"


def test_names_of_properties_may_hold_anything() -> None:
    schema = {"type": "object", "properties": {"a/b c.d~set": {"type": "string"}}}
    form = schema_form.build(schema)
    assert read({form.children[0].name: "x"}, schema) == {"a/b c.d~set": "x"}
    assert " " not in form.children[0].id


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_task_without_parameters_has_an_empty_form_and_payload(schema: dict[str, Any]) -> None:
    assert schema_form.build(schema).children == []
    assert schema_form.read(schema, {}) == {}


def test_fields_stand_as_declared_and_without_that_the_required_ones_first() -> None:
    schema = {"properties": {"a": {}, "b": {}, "c": {}, "d": {}}, "required": ["d", "b"]}
    assert [child.label for child in schema_form.build(schema).children] == ["d", "b", "a", "c"]
    ordered = schema | {"propertyOrder": ["c", "d", "a", "b"]}
    assert [child.label for child in schema_form.build(ordered).children] == ["c", "d", "a", "b"]


def test_a_title_that_code_gives_is_the_label_and_one_made_of_the_name_is_not() -> None:
    schema = {"properties": {"order_id": {"title": "Order Id"}, "to": {"title": "Whom to tell"}}}
    assert [child.label for child in schema_form.build(schema).children] == ["order_id", "Whom to tell"]


def test_descriptions_and_lengths_reach_the_control() -> None:
    class Described(BaseModel):
        name: str = Field(description="Whom it is for", max_length=10, examples=["Ada"])

    field = schema_form.build(Described.model_json_schema()).children[0]
    assert field.help == "Whom it is for"
    assert field.attrs == {"maxlength": "10", "placeholder": "Ada"}
