"""The API's documentation says what the API does."""

import json
from dataclasses import fields
from typing import Any

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
