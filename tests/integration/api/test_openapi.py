"""The API's documentation says what the API does."""

import importlib
import json
import pkgutil
from dataclasses import fields
from typing import Any

from ninja import Schema

from runs.api.schemas import OPTIONS_SCHEMA
from runs.sdk.options import Options
from tests.support import stored
from tests.support.api import Caller


def schema() -> dict[str, Any]:
    found: dict[str, Any] = Caller().get("/openapi.json").json()
    return found


def test_every_reference_leads_somewhere(db: None) -> None:
    document = schema()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                kind, name = node["$ref"].removeprefix("#/components/").split("/")
                assert name in document["components"][kind], node["$ref"]
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(document)
    assert "$defs" not in json.dumps(document)


def test_every_operation_names_its_security_and_its_refusals(db: None) -> None:
    paths = schema()["paths"]
    assert len(paths) >= 15
    for path, operations in paths.items():
        for method, operation in operations.items():
            signed = [{}] if operation["operationId"] == "wait_complete" else []  # its signed form needs no account
            assert operation["security"] == [{"BearerAuth": []}, {"SessionAuth": []}, *signed], (path, method)
            assert {"401", "403", "422"} <= set(operation["responses"])
            assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
            assert ("requestBody" in operation) == (method != "get")


def test_no_two_shapes_have_one_name() -> None:
    import runs.api

    shapes: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(runs.api.__path__):
        found = vars(importlib.import_module(f"runs.api.{module.name}")).values()
        for shape in found:
            if isinstance(shape, type) and issubclass(shape, Schema) and shape.__module__.startswith("runs.api."):
                shapes.setdefault(shape.__name__, set()).add(shape.__module__)
    assert len(shapes) > 50
    assert {name: where for name, where in shapes.items() if len(where) > 1} == {}


def test_what_is_answered_is_declared(api: Caller) -> None:
    paths = schema()["paths"]

    def declared(method: str, path: str, answer: Any) -> str:
        """The media type of an answer, once its status and that are found in the documentation."""
        told = paths[f"/api/v1{path}"][method]["responses"][str(answer.status_code)]
        kind: str = answer.headers["Content-Type"].partition(";")[0]
        assert kind in told["content"], (path, answer.status_code)
        return kind

    batch = paths["/api/v1/tasks/{task_id}/batch"]["post"]["responses"]
    assert (list(batch["200"]["content"]), "201" in batch) == (["application/x-ndjson"], True)
    for kind, media in (("csv", "text/csv"), ("json", "application/json")):
        assert declared("get", "/runs/export", api.get(f"/runs/export?format={kind}")) == media
    for path, made in (("/webhooks", {}), ("/schedules", {"every": 60})):
        answer = api.post(path, {"name": "new", "task": "nothing", **made})
        assert answer.status_code == 404
        declared("post", path, answer)


def test_the_options_of_an_enqueue_are_all_described() -> None:
    properties: Any = OPTIONS_SCHEMA["properties"]
    assert set(properties) == {f.name for f in fields(Options)}
    assert all(properties.values())


def test_answers_have_the_documented_fields(api: Caller) -> None:
    schemas = schema()["components"]["schemas"]

    def same(name: str, answer: Any) -> None:
        assert set(answer) == set(schemas[name]["properties"]), name

    run = api.post("/tasks/echo/runs", {}).json()
    same("RunOut", run)
    same("PageOut_RunOut_", api.get("/runs").json())
    same("TaskOut", api.get("/tasks/echo").json())
    wait = stored.wait(stored.run("waiting"), "approval", "Publish?")
    same("WaitOut", api.get(f"/runs/{wait.run_id}/waits").json()["items"][0])
    same("QueueOut", api.get("/queues/default").json())
    same("Problem", api.get("/runs/x").json())
