"""Annotations that pydantic alone does not know (arrays, tensors, memoryview), and those that travel as themselves.

numpy and torch are never imported here unless an annotation or a value already brought them.
"""

from __future__ import annotations

import sys
import types
import typing
from collections import abc
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic_core import PydanticCustomError, core_schema

from svcd.app.aliases import with_arms

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = frozenset(
    (Any, None, type(None), bool, int, float, str, bytes, object, date, datetime, time, timedelta, list, dict)
)
_LISTS = (list, tuple, set, frozenset, abc.Sequence)
_PLAIN_ORIGINS = frozenset((list, dict, abc.Mapping, abc.MutableMapping, abc.Sequence, typing.Union, types.UnionType))


def is_plain(annotation: Any) -> bool:
    """Whether a value of this type arrives over the wire as the same type, so that nothing is to be rebuilt."""
    if typing.get_origin(annotation) is typing.Literal or is_array(annotation) or is_tensor(annotation):
        return True
    arms = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return is_plain(arms[0])
    if not arms:
        return isinstance(annotation, abc.Hashable) and annotation in _PLAIN
    return typing.get_origin(annotation) in _PLAIN_ORIGINS and all(is_plain(arm) for arm in arms)


def with_arrays(annotation: Any) -> Any:
    """Return the annotation with every type of arrays and tensors, and memoryview, in it made known to pydantic."""
    if (seen_as := _seen_as(annotation)) is not None:
        return Annotated[annotation, seen_as]
    return with_arms(annotation, with_arrays)


def is_list(annotation: Any) -> bool:
    """Whether a list is among what this type takes."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Annotated, typing.Union, types.UnionType):
        return any(is_list(arm) for arm in typing.get_args(annotation))
    return (origin or annotation) in _LISTS


def item_of(annotation: Any) -> Any:
    """Return the type of a list's items; Any where it is not told, or is no list."""
    origin, arms = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Annotated, typing.Union, types.UnionType):
        return next((item_of(arm) for arm in arms if is_list(arm)), Any)
    return arms[0] if origin in _LISTS and len(set(arms) - {...}) == 1 else Any


def admits(annotation: Any, wanted: type) -> bool:
    """Whether a value of this very type is what an annotation means, perhaps beside None."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return admits(typing.get_args(annotation)[0], wanted)
    if annotation is Any or annotation is wanted:
        return True
    arms = typing.get_args(annotation) if origin in (typing.Union, types.UnionType) else ()
    return wanted in arms and all(arm in (wanted, type(None)) for arm in arms)


def result_kinds(annotation: Any) -> set[str]:
    """Return what a value of this type may be for a protocol that knows `text`, `bytes` and `json` only."""
    if annotation is Any or annotation is object:
        return {"text", "bytes", "json"}
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return result_kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(result_kinds, typing.get_args(annotation)))
    if origin is typing.Literal:
        return set().union(*(result_kinds(type(value)) for value in typing.get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, str):
        return {"text"}
    return {"bytes"} if annotation in (bytes, bytearray, memoryview) else {"json"}


def is_array(annotation: Any) -> bool:
    """Whether it is numpy's array type, perhaps with a dtype."""
    cls = typing.get_origin(annotation) or annotation
    return isinstance(cls, type) and cls.__module__ == "numpy" and cls.__name__ == "ndarray"


def _seen_as(annotation: Any) -> _Array | _Tensor | _View | None:
    """Return what makes a type known to pydantic, None for those that it knows."""
    if is_array(annotation):
        return _Array(_dtype_of(annotation))
    if is_tensor(annotation):
        return _Tensor()
    return _View() if annotation is memoryview else None


def is_tensor(annotation: Any) -> bool:
    """Whether it is torch's type of tensors."""
    return isinstance(annotation, type) and annotation.__module__ == "torch" and annotation.__name__ == "Tensor"


def _dtype_of(annotation: Any) -> Any:
    """Return the scalar type of `NDArray[np.float32]`, or None where any will do."""
    for arm in typing.get_args(annotation)[1:]:
        scalar = next(iter(typing.get_args(arm)), None)
        if isinstance(scalar, type):
            return scalar
    return None


class _Array:
    """Pydantic's view of an array: taken as it is, or made of nested lists; written to JSON as nested lists."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _array_validator(self.dtype),
            serialization=core_schema.plain_serializer_function_ser_schema(_listed, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {
            "type": "array",
            "description": f"array of {self.dtype.__name__ if self.dtype else 'numbers'}, nested lists",
        }


class _Tensor:
    """Pydantic's view of a tensor: taken as it is, or made of an array or nested lists; nested lists in JSON."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _as_tensor,
            serialization=core_schema.plain_serializer_function_ser_schema(_listed, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "array", "description": "tensor of numbers, nested lists"}


def _as_tensor(value: Any) -> Any:
    torch = sys.modules["torch"]  # the annotation has brought it
    if isinstance(value, torch.Tensor):
        return value
    if not isinstance(value, list | int | float | bool) and type(value).__module__ != "numpy":
        raise PydanticCustomError(
            "tensor_type", f"Input should be a tensor, an array or nested lists, not {type(value).__name__}"
        )
    try:
        return torch.tensor(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise PydanticCustomError(
            "tensor_shape", "Input should be nested lists of numbers: {e}", {"e": str(error)}
        ) from None


class _View:
    """Pydantic's view of a memoryview: of the bytes that came, read-only; in JSON it is what bytes are."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(_viewed, core_schema.bytes_schema()),
            python_schema=core_schema.no_info_plain_validator_function(_viewed),
            serialization=core_schema.plain_serializer_function_ser_schema(bytes, when_used="json"),
        )


def _viewed(value: Any) -> memoryview:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise PydanticCustomError("memoryview_type", f"Input should be bytes, not {type(value).__name__}")
    return memoryview(value).toreadonly()


def without_views(value: Any) -> Any:
    """Return what arrived with bytes in place of memoryviews; itself where there are none."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, dict):
        made = {name: without_views(item) for name, item in value.items()}
        return made if any(made[name] is not item for name, item in value.items()) else value
    if isinstance(value, list):
        items = [without_views(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _array_validator(dtype: Any) -> Callable[[Any], Any]:
    import numpy as np  # noqa: PLC0415  (the annotation has already brought it)

    def validate(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if dtype is None or issubclass(value.dtype.type, dtype):
                return value
            if not np.can_cast(value.dtype, dtype, "same_kind"):
                raise PydanticCustomError("array_dtype", f"an array of {value.dtype} is no array of {dtype.__name__}")
        elif not isinstance(value, list | int | float | bool | np.generic):
            raise PydanticCustomError(
                "array_type", f"Input should be an array or nested lists, not {type(value).__name__}"
            )
        try:
            made = np.array(value, dtype=dtype if dtype is None or not _is_abstract(dtype) else None)
        except (ValueError, TypeError, OverflowError) as error:
            raise PydanticCustomError(
                "array_shape", "Input should be nested lists of numbers: {e}", {"e": str(error)}
            ) from None
        if made.dtype.kind not in "biufc":
            raise PydanticCustomError("array_type", "Input should be nested lists of numbers")
        made.flags.writeable = False  # as every array that arrives from elsewhere
        return made

    def _is_abstract(scalar: Any) -> bool:
        return scalar in (
            np.generic,
            np.number,
            np.integer,
            np.floating,
            np.signedinteger,
            np.unsignedinteger,
            np.inexact,
        )

    return validate
