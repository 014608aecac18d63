"""What OpenAPI says of requests: bodies and parameters are read by hand, so they are described by hand."""

from typing import Any

from pydantic import BaseModel

from runs.filters import DEFAULT_LIMIT, MAX_LIMIT

Json = dict[str, Any]


def body(*shapes: type[BaseModel], required: bool = True) -> Json:
    """The request body of a route: of one of these shapes."""
    listed = [_inlined(shape) for shape in shapes]
    schema = listed[0] if len(listed) == 1 else {"anyOf": listed}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def answer(status: int, words: str, **content: Json) -> Json:
    """What a route answers by hand: media types (`text_csv`) with their schemas."""
    media = {kind.replace("_", "/", 1).replace("_", "-"): {"schema": schema} for kind, schema in content.items()}
    return {"responses": {status: {"description": words, "content": media}}}


def query(*parameters: Json) -> Json:
    """The query parameters of a route."""
    return {"parameters": list(parameters)}


def parameter(name: str, description: str, schema: Json | None = None, *, place: str = "query") -> Json:
    """One optional parameter."""
    return {
        "name": name,
        "in": place,
        "required": False,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def page(most: int = MAX_LIMIT, default: int = DEFAULT_LIMIT) -> list[Json]:
    """The parameters of every list."""
    return [
        parameter("cursor", "The `next` of the page before."),
        parameter("limit", "Items of a page.", {"type": "integer", "minimum": 1, "maximum": most, "default": default}),
    ]


def _inlined(shape: type[BaseModel]) -> Json:
    """The model's JSON Schema with its definitions in place: ninja adds those of responses only."""
    schema = shape.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if (reference := node.get("$ref", "")).startswith("#/$defs/"):
                return inline(definitions[reference.removeprefix("#/$defs/")])
            return {key: inline(value) for key, value in node.items()}
        return [inline(value) for value in node] if isinstance(node, list) else node

    inlined: Json = inline(schema)
    return inlined
