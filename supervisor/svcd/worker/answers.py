"""Results as bodies: each has to be what a service in another process would take, whatever HTTP could make of it.

So it is carried through the codec, and made what the annotation declares, as at a caller; what is written is what
arrived. (Where a value travels as itself, it is only seen that it can.) Two callers of an api, one over HTTP and one
not, so have the same result or the same BadResult. JSON lacks one thing that the codec has: NaN and the infinities are
refused there, which most writers of JSON turn into null, or into a text that most readers refuse.
"""

from __future__ import annotations

import sys
from math import isfinite
from typing import TYPE_CHECKING, Any

from svcd_ipc import codec
from svcd_ipc.errors import BadResult, EncodeError
from svcd_ipc.tensors import is_tensor

if TYPE_CHECKING:
    from svcd.app.schemas import ApiSchema


def arrived(value: Any, schema: ApiSchema) -> Any:
    """Return a result as its caller gets it; one that travels as itself is left for the writers to check.

    Raises BadResult.
    """
    if schema.rebuild is None:
        return value
    try:
        return schema.rebuild(codec.transfer(value))
    except EncodeError as error:
        raise _cannot_travel(error, schema) from None


def packed(value: Any, schema: ApiSchema) -> bytes:
    """Return a result that has arrived as msgpack. Raises BadResult."""
    try:
        return codec.encode(value)
    except EncodeError as error:
        raise _cannot_travel(error, schema) from None


def json_text(value: Any, schema: ApiSchema) -> bytes:
    """Return a result that has arrived as JSON. Raises BadResult."""
    if schema.rebuild is None:
        packed(value, schema)
    body = schema.to_json(value)
    if b"null" in body:  # which stands for None, or for what JSON has no word for
        _refuse_infinite(codec.transfer(value), "result", schema)
    return body


def text(value: str, schema: ApiSchema) -> bytes:
    """Return a text as it is. Raises BadResult."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return packed(value, schema)  # which says what is wrong


def _cannot_travel(error: EncodeError, schema: ApiSchema) -> BadResult:
    return BadResult(f"{schema.title} returned what cannot travel: result{str(error).removeprefix('value')}")


def _refuse_infinite(value: Any, place: str, schema: ApiSchema) -> None:
    """Raise BadResult for the first number of a value that has arrived, if there is one that JSON has not."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_infinite(item, f"{place}.{key}", schema)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_infinite(item, f"{place}[{index}]", schema)
    elif not _is_finite(value):
        raise BadResult(
            f"{schema.title} returned what has no JSON form: {place}: NaN or an infinity;"
            " return None instead, or ask for application/msgpack"
        )


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if type(value).__module__ == "numpy" and value.dtype.kind in "fc":
        return bool(sys.modules["numpy"].isfinite(value).all())
    if is_tensor(value):
        return bool(sys.modules["torch"].isfinite(value).all())
    return True
