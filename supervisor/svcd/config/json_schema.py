"""The schema of `svcd.toml` as JSON Schema, for editors that complete and check TOML by one (taplo and its kin).

It is generated from `schema.KEYS`, says less than `svcd check` (nothing of contradictions, names, files) and never
refuses what svcd takes. `[app] service` is not required by it: a further `-f` file has none.
"""

from __future__ import annotations

from typing import Any

import tomli

from svcd.config import schema

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The latest that taplo and the editors on top of it support."""


def json_schema() -> dict[str, Any]:
    """Return the whole schema."""
    app = _table(schema.APP)
    services = {
        "type": "object",
        "description": "By the name of the service, as its class has it.",
        "additionalProperties": {"$ref": "#/definitions/service"},
    }
    profile = {
        "type": "object",
        "properties": {"app": {"$ref": "#/definitions/app"}, "services": {"$ref": "#/definitions/services"}},
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "svcd.toml",
        "description": "An app of svcd: its services, what each needs, and profiles of them.",
        "type": "object",
        "properties": {
            "app": {"$ref": "#/definitions/app"},
            "instance_types": {
                "type": "object",
                "description": "Shapes of resources, by the name that services take them by.",
                "additionalProperties": _table(schema.INSTANCE_TYPE),
            },
            "services": {"$ref": "#/definitions/services"},
            "profiles": {
                "type": "object",
                "description": "Overlays of this file, by the name that --profile takes.",
                "additionalProperties": profile,
            },
        },
        "additionalProperties": False,
        "definitions": {"app": app, "services": services, "service": _table(schema.SERVICE)},
    }


def _table(table: schema.Table) -> dict[str, Any]:
    if table.named is not None:
        return {"type": "object", "additionalProperties": _node(table.named)}
    return {
        "type": "object",
        "properties": {name: _node(node) for name, node in table.children.items()},
        "additionalProperties": False,
    }


def _node(node: schema.Table | schema.Key) -> dict[str, Any]:
    if isinstance(node, schema.Table):
        return _table(node)
    described = {"description": node.help, **node.kind.json_schema()}
    if node.default is not None:
        described["default"] = tomli.loads(f"value = {node.kind.write(node.default)}")["value"]
    return described
