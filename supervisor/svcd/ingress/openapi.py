"""OpenAPI 3.1 of the entry's apis, from what the entry says of them. Pure.

Source: https://spec.openapis.org/oas/v3.1.1.html. Each api is one path with one POST. A JSON Schema that the entry
tells is whole in itself; its `$defs` become components here, so that what two apis share is there once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.ingress.openapi_tasks import STATUSES as TASK_STATUSES
from svcd.ingress.openapi_tasks import TASK, task_paths
from svcd.ingress.problems import PROBLEMS
from svcd.values.media import BYTES, EVENTS, FORM, JSON, MSGPACK, MSGPACK_SEQ, MULTIPART, NDJSON, TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

Schema = dict[str, Any]

_STATUSES = (400, 404, 405, 406, 408, 413, 415, 429, 431, 500, 502, 503, 504)
"""What any api may be answered with, beside 200."""
_BINARY: Schema = {}
"""A body that is no text has no schema: https://spec.openapis.org/oas/v3.1.1.html#considerations-for-file-uploads."""
_KINDS = {"text": TEXT, "bytes": BYTES}
"""How items of these kinds come as they are."""
_SCALARS = frozenset(("string", "number", "integer", "boolean", "null"))

_ERROR: Schema = {
    "type": "object",
    "description": "Any answer that is no result.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "Stable; see docs/http.md."},
                "message": {"type": "string", "description": "For people."},
                "id": {"type": "string", "description": "Finds the traceback: svcd logs ingress"},
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "message"],
                        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
            },
        }
    },
}


def openapi(service: str, version: str, apis: dict[str, dict[str, Any]], mounts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document.

    Args:
        service: Name of the entry.
        version: Its version.
        apis: Its apis by name, as `svcd.schema` tells of them.
        mounts: Where applications are, which have documents of their own.
    """
    components = Components()
    paths = {}
    for name, api in sorted(apis.items()):
        called = _operation(service, name, api, components)
        paths[f"/{name}"] = {"post": called}
        if api.get("task"):
            paths |= task_paths(name, called)
            components.schemas["Task"] = TASK
    return {
        "openapi": "3.1.0",
        "info": {"title": service, "version": version or "unversioned"},
        "servers": [{"url": "."}],
        "paths": paths,
        "x-mounts": list(mounts),
        "components": {"schemas": {**components.schemas, "Error": _ERROR}, "responses": _problem_responses()},
    }


class Components:
    """The definitions of all schemas under one roof."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def lift(self, schema: Schema, owner: str) -> Schema:
        """Return a schema whose definitions are components now.

        Definitions keep their names; where one is taken by another definition, all of this schema are named after the
        owner too, because they may refer to each other.
        """
        definitions: dict[str, Schema] = schema.get("$defs", {})
        names = {name: name for name in definitions}
        if not self._fit(definitions, names):
            names = {name: f"{owner}.{name}" for name in definitions}
        for name, definition in definitions.items():
            self.schemas[names[name]] = _renamed(definition, names)
        lifted: Schema = _renamed({key: value for key, value in schema.items() if key != "$defs"}, names)
        return lifted

    def find(self, schema: Schema) -> Schema:
        """Return what a schema refers to, or itself."""
        name = str(schema.get("$ref", "")).removeprefix("#/components/schemas/")
        return self.schemas[name.replace("~1", "/").replace("~0", "~")] if name else schema

    def _fit(self, definitions: dict[str, Schema], names: dict[str, str]) -> bool:
        return all(
            name not in ("Error", "Task") and self.schemas.get(name) in (None, _renamed(definition, names))
            for name, definition in definitions.items()
        )


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_renamed(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    ref = node.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        name = ref.removeprefix("#/$defs/")
        return {**_renamed({k: v for k, v in node.items() if k != "$ref"}, names), "$ref": _component(names[name])}
    return {key: _renamed(value, names) for key, value in node.items()}


def _component(name: str) -> str:
    return f"#/components/schemas/{name.replace('~', '~0').replace('/', '~1')}"


def _operation(service: str, name: str, api: dict[str, Any], components: Components) -> dict[str, Any]:
    doc = (api.get("doc") or "").strip()
    told = components.lift(api.get("input") or {}, f"{name}.input")
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [service],
        "requestBody": {"required": bool(told.get("required")), "content": _bodies(api, told, components)},
        "responses": {
            "200": {"description": _what_comes(api), "content": _answers(name, api, components)},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _STATUSES},
        },
    }
    if streamed := api.get("stream_body"):
        operation["parameters"] = _beside_a_stream(told, streamed["name"])
    if doc:
        operation |= {"summary": doc.partition("\n")[0], "description": doc}
    return operation


def _what_comes(api: dict[str, Any]) -> str:
    if not api.get("is_stream"):
        return "The result."
    return "The items as they come. When the stream fails, its body is cut off, or ends with an event named error."


def _bodies(api: dict[str, Any], schema: Schema, components: Components) -> dict[str, Any]:
    """Return the forms a request body may have."""
    content: dict[str, Any] = {JSON: {"schema": schema}}
    fields: dict[str, Schema] = schema.get("properties", {})
    if fields:
        arms = {name: [components.find(arm) for arm in field.get("anyOf", [field])] for name, field in fields.items()}
        content[MULTIPART] = _form(schema, arms)
        if all(map(_is_scalar, arms.values())):
            content[FORM] = {"schema": schema}
    if api.get("text_body"):
        content[TEXT] = {"schema": _text_schema(fields.get(api["text_body"], {}))}
    if api.get("bytes_body"):
        content[BYTES] = {"schema": _BINARY}
    content[MSGPACK] = {"schema": _BINARY}
    if streamed := api.get("stream_body"):
        item = components.find(fields[streamed["name"]]).get("items", {})
        for kind in (NDJSON, MSGPACK_SEQ, *(_KINDS[one] for one in streamed["kinds"] if one in _KINDS)):
            content[kind] = {"schema": _BINARY, "x-item-schema": item}
    return content


def _beside_a_stream(schema: Schema, streamed: str) -> list[Schema]:
    """Return the parameters of the query, which count where the body is the items of a stream."""
    return [
        {"name": name, "in": "query", "required": False, "schema": field}
        for name, field in schema.get("properties", {}).items()
        if name != streamed
    ]


def _form(schema: Schema, arms: dict[str, list[Schema]]) -> dict[str, Any]:
    """Return the schema of a multipart form, and what its parts are where the default would be something else.

    Files are parts of their own, and objects parts of JSON. Lists other than of files are taken too, but left out here:
    a form has the same bytes for a list of one and for its item, so that no schema of it would be true.
    """
    fields, encoding = dict(schema["properties"]), {}
    for name, kinds in arms.items():
        types = {kind.get("type") for kind in kinds}
        if any(map(_is_bytes, kinds)):
            fields[name] = {"type": "string", "format": "binary"}
            encoding[name] = {"contentType": BYTES}
        elif any(_is_bytes(kind.get("items") or {}) for kind in kinds):
            fields[name] = {"description": "Files, each a part of this name."}  # which any content is
            encoding[name] = {"contentType": BYTES}
        elif "array" in types:
            del fields[name]
        elif types <= {"object", "null"}:
            encoding[name] = {"contentType": JSON}
        elif len(kinds) == 1:
            fields[name] = kinds[0]
    required = [
        name for name in schema.get("required", ()) if not any(kind.get("type") == "array" for kind in arms[name])
    ]
    told = {"schema": {**schema, "properties": fields, "required": required}}
    return {**told, "encoding": encoding} if encoding else told


def _is_scalar(kinds: list[Schema]) -> bool:
    return all(
        (kind.get("type") in _SCALARS or "enum" in kind or "const" in kind) and not _is_bytes(kind) for kind in kinds
    )


def _is_bytes(field: Schema) -> bool:
    return field.get("contentEncoding") == "base64"


def _text_schema(field: Schema) -> Schema:
    """A plain body is the text itself: what it may be instead (null, say) has no plain form."""
    arms = [arm for arm in field.get("anyOf", ()) if arm.get("type") == "string"]
    return arms[0] if arms else {"type": "string"} | {k: v for k, v in field.items() if k not in ("default", "title")}


def _answers(name: str, api: dict[str, Any], components: Components) -> dict[str, Any]:
    schema = components.lift(api.get("output") or {}, f"{name}.output")
    kinds: dict[str, Schema] = {
        JSON: schema,
        # One line is one item; OpenAPI 3.1 has no word for the whole.
        NDJSON: {"type": "string"},
        TEXT: {"type": "string"},
        EVENTS: {"type": "string"},
        BYTES: _BINARY,
        MSGPACK: _BINARY,
        MSGPACK_SEQ: _BINARY,
    }
    offered = api.get("answers") or [JSON]
    content: dict[str, Any] = {kind: {"schema": kinds[kind]} for kind in offered}
    if NDJSON in content:
        content[NDJSON]["x-item-schema"] = schema
    return content


def _problem_responses() -> dict[str, Any]:
    headers = {
        "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}},
        "Allow": {"description": "The methods that there are.", "schema": {"type": "string"}},
    }
    with_headers = {405: "Allow", **dict.fromkeys((409, 429, 503, 507), "Retry-After")}
    return {
        str(status): {
            "description": PROBLEMS[status],
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            **({"headers": {with_headers[status]: headers[with_headers[status]]}} if status in with_headers else {}),
        }
        for status in (*_STATUSES, *TASK_STATUSES)
    }
