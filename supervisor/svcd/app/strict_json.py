"""JSON as it is taken from a request: at its word, and with no integer that no service could be sent.

Python reads integers of any length and msgpack carries 64 bits. One beyond them would be an argument of the first
service that it reaches, and break the next.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from svcd_ipc.codec import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import TypeAdapter

    Place = tuple[str | int, ...]

LEAST, MOST = -(2**63), 2**64 - 1
"""What msgpack carries."""
# No shorter integer is beyond 64 bits. Only where digits begin, and not after a point: most texts are numbers.
_LONG = re.compile(r"(?<![0-9.])[0-9]{19}")
_LONG_BYTES = re.compile(_LONG.pattern.encode())
_TOO_WIDE = PydanticCustomError("int_64", "Input should be an integer of 64 bits, from -2**63 to 2**64-1")


def read_json(adapter: TypeAdapter[Any], text: str | bytes) -> Any:
    """Return the value of a JSON text that fits a type strictly. Raises ValidationError naming what does not."""
    value = adapter.validator.validate_json(text, strict=True)
    found = _LONG.search(text) if isinstance(text, str) else _LONG_BYTES.search(text)
    if found is not None:
        wide = [InitErrorDetails(type=_TOO_WIDE, loc=place, input=number) for place, number in _wide(value, ())]
        if wide:
            raise ValidationError.from_exception_data("JSON", wide)
    return value


def _wide(value: Any, place: Place) -> Iterator[tuple[Place, int]]:
    """Yield the integers beyond 64 bits in a value, each with its place."""
    if isinstance(value, int):
        if not LEAST <= value <= MOST:
            yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _wide(item, (*place, str(key)))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield from _wide(item, (*place, index))
    elif not isinstance(value, (str, bytes, float)):
        try:
            inner = plain(value)  # of a dataclass, say
        except TypeError:
            return
        yield from _wide(inner, place)
