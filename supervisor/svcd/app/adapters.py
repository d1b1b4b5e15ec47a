"""Pydantic's adapters under svcd's rules, and its errors as maps of fields.

Unknown fields are refused, bytes are base64 inside JSON, and classes that pydantic does not know pass as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

if TYPE_CHECKING:
    from pydantic import ValidationError

CONFIG = ConfigDict(
    extra="forbid",
    arbitrary_types_allowed=True,
    val_json_bytes="base64",
    ser_json_bytes="base64",
    protected_namespaces=(),
)


def adapter(annotation: Any, title: str) -> TypeAdapter[Any]:
    """Return what validates and writes values of a type. Raises TypeError where there is no such thing."""
    try:
        try:
            return TypeAdapter(annotation, config=CONFIG)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            return TypeAdapter(annotation)  # a model or dataclass has its own configuration
    except PydanticSchemaGenerationError as error:
        raise TypeError(f"{title}: the annotation {annotation!r} cannot be checked: {error}") from error


def details_of(error: ValidationError, *, within: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return `{field, message}` for each wrong field, dotted where it lies deeper, `body` where it is the whole."""
    return [
        {"field": ".".join(map(str, (*within, *item["loc"]))) or "body", "message": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
