"""The document of the entry's apis, made of what the entry tells."""

from __future__ import annotations

from typing import Any

import openapi_spec_validator
import pytest

from svcd.ingress.openapi import Components, openapi
from svcd.values.media import offers

Schema = dict[str, Any]


def api(
    properties: dict[str, Schema], *, output: Schema | None = None, defs: Schema | None = None, **told: Any
) -> Schema:
    """One api as `svcd.schema` tells of it."""
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {
        "doc": "Do it.\n\nAt once.",
        "input": schema | ({"$defs": defs} if defs else {}),
        "output": output or {"type": "integer"},
        "is_stream": False,
        "text_body": None,
        "bytes_body": None,
        "answers": list(offers(["json"], is_stream=False)),
    } | told


def document(**apis: Schema) -> dict[str, Any]:
    made = openapi("Mood", "1", apis, ["/web"])
    openapi_spec_validator.validate(made)
    return made


def content_of(made: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = made["paths"][f"/{name}"]["post"]["requestBody"]["content"]
    return found


def test_a_body_may_be_the_items_of_a_stream() -> None:
    numbers = {"type": "array", "items": {"type": "number"}}
    told = {"name": "numbers", "kinds": ["bytes", "json"]}
    made = document(total=api({"numbers": numbers, "times": {"type": "integer"}}, stream_body=told))
    content = content_of(made, "total")
    for kind in ("application/x-ndjson", "application/msgpack-seq", "application/octet-stream"):
        assert content[kind]["x-item-schema"] == {"type": "number"}
    (times,) = made["paths"]["/total"]["post"]["parameters"]
    assert (times["name"], times["in"], times["schema"]) == ("times", "query", {"type": "integer"})


def test_an_api_is_a_path_with_a_post() -> None:
    made = document(score=api({"text": {"type": "string"}}))
    operation = made["paths"]["/score"]["post"]
    assert (operation["operationId"], operation["summary"], operation["description"]) == (
        "score",
        "Do it.",
        "Do it.\n\nAt once.",
    )
    assert operation["responses"]["200"]["content"]["application/json"] == {"schema": {"type": "integer"}}
    assert operation["responses"]["503"] == {"$ref": "#/components/responses/503"}
    assert "Retry-After" in made["components"]["responses"]["503"]["headers"]
    assert made["x-mounts"] == ["/web"]


def test_an_app_without_apis_is_a_document_too() -> None:
    assert document()["paths"] == {}


def test_bodies_are_those_that_the_entry_reads() -> None:
    text = document(score=api({"text": {"type": "string"}}, text_body="text"))
    assert set(content_of(text, "score")) == {
        *("application/json", "application/msgpack", "multipart/form-data", "application/x-www-form-urlencoded"),
        "text/plain",
    }
    picture = {"type": "string", "contentEncoding": "base64"}
    files = document(see=api({"image": picture, "n": {"type": "integer"}}, bytes_body="image"))
    form = content_of(files, "see")["multipart/form-data"]
    assert form["schema"]["properties"]["image"] == {"type": "string", "format": "binary"}
    assert form["encoding"] == {"image": {"contentType": "application/octet-stream"}}
    assert "application/octet-stream" in content_of(files, "see")
    assert "application/x-www-form-urlencoded" not in content_of(files, "see")


def test_a_form_leaves_out_what_it_cannot_tell_apart() -> None:
    made = document(
        go=api(
            {
                "files": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
                "tags": {"type": "array", "items": {"type": "string"}},
                "box": {"$ref": "#/$defs/Box"},
                "mood": {"$ref": "#/$defs/Mood"},
            },
            defs={"Box": {"type": "object"}, "Mood": {"enum": ["good"], "type": "string"}},
        )
    )
    form = content_of(made, "go")["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {"files", "box", "mood"}
    assert form["schema"]["required"] == ["box", "mood"]
    assert form["encoding"]["box"] == {"contentType": "application/json"}
    assert form["schema"]["properties"]["mood"] == {"enum": ["good"], "type": "string"}


def test_streams_tell_of_their_items() -> None:
    made = document(
        go=api({}, output={"type": "number"}, is_stream=True, answers=list(offers(["json"], is_stream=True)))
    )
    content = made["paths"]["/go"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/x-ndjson", "text/event-stream", "application/msgpack-seq"}
    assert content["application/x-ndjson"]["x-item-schema"] == {"type": "number"}


BOX = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Box"}}}


def test_what_two_apis_share_is_there_once() -> None:
    box = {"$ref": "#/$defs/Box"}
    made = document(a=api({"box": box}, defs={"Box": BOX}), b=api({"box": box}, defs={"Box": BOX}))
    assert set(made["components"]["schemas"]) == {"Box", "Error"}
    assert made["components"]["schemas"]["Box"]["properties"]["next"] == {"$ref": "#/components/schemas/Box"}


@pytest.mark.parametrize("name", ["Box", "Error"])
def test_different_things_of_one_name_stay_apart(name: str) -> None:
    refers, other = {"$ref": f"#/$defs/{name}"}, {"type": "object", "properties": {"x": {"type": "string"}}}
    made = document(
        a=api({"box": refers}, defs={name: {"type": "object"}}),
        b=api({"box": refers, "in": {"$ref": "#/$defs/Outer"}}, defs={name: other, "Outer": {"items": refers}}),
    )
    schemas = made["components"]["schemas"]
    assert schemas[f"b.input.{name}"] == other
    assert schemas["b.input.Outer"]["items"] == {"$ref": f"#/components/schemas/b.input.{name}"}
    assert content_of(made, "b")["application/json"]["schema"]["properties"]["box"] == {
        "$ref": f"#/components/schemas/b.input.{name}"
    }


def test_a_schema_that_is_a_reference_itself_is_kept() -> None:
    lifted = Components().lift({"$ref": "#/$defs/a~b/c", "$defs": {"a~b/c": {"type": "null"}}}, "x.output")
    assert lifted == {"$ref": "#/components/schemas/a~0b~1c"}
