"""JSON Schemas that say exactly what is taken, so that a client can be made or tested from them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, PydanticJsonSchemaWarning

from svcd.app.strict_json import LEAST, MOST

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import core_schema

_LAST_OF_TWO = "[AQgw]"  # the last character before padding carries fewer bits, and the others have to be zero
_LAST_OF_THREE = "[AEIMQUYcgkosw048]"


def _base64(alphabet: str) -> str:
    one, two = f"{alphabet}{_LAST_OF_TWO}(?:==)?", f"{alphabet}{{2}}{_LAST_OF_THREE}=?"
    return f"(?:{alphabet}{{4}})*(?:{one}|{two})?"


BASE64 = f"^(?:{_base64('[A-Za-z0-9+/]')}|{_base64('[A-Za-z0-9_-]')})$"
"""Base64 as pydantic reads it: either alphabet, with or without padding. What it writes is the URL-safe one."""


class _Generator(GenerateJsonSchema):
    def bytes_schema(self, schema: core_schema.BytesSchema) -> dict[str, Any]:
        """Describe bytes. The limits of a `bytes` are of the bytes, and no text's length says them."""
        del schema
        return {"type": "string", "contentEncoding": "base64", "pattern": BASE64}

    def int_schema(self, schema: core_schema.IntSchema) -> dict[str, Any]:
        """Describe an integer. Where its annotation says no bound, that of the wire is one."""
        told = super().int_schema(schema)
        if "exclusiveMinimum" not in told:
            told["minimum"] = max(told.get("minimum", LEAST), LEAST)
        if "exclusiveMaximum" not in told:
            told["maximum"] = min(told.get("maximum", MOST), MOST)
        return told


def json_schema(adapter: TypeAdapter[Any], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    """Return the JSON Schema of what a type takes or gives, without any word where JSON knows nothing of it."""
    try:
        with warnings.catch_warnings():
            # A default that has no JSON form is left out, which needs no mention.
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
            return adapter.json_schema(mode=mode, schema_generator=_Generator)
    except PydanticInvalidForJsonSchema:
        return {}
