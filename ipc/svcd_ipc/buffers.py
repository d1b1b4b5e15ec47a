"""Bytes and memoryviews that are large enough to be lent, found in a value before it is packed.

msgpack takes them itself and asks nobody, so they are told apart from what it knows.
"""

from __future__ import annotations

from typing import Any, Final

LEND: Final = 64 * 1024
"""Bytes of an array, memoryview or bytes from which on it is lent where memory is shared.

Measured by `bench/arrays.py --threshold`: from here on a hop by shared memory is quicker than one through the socket. A
lease costs 25 µs and the socket 0.2 µs per KiB, a few times as much from 1 MiB on.
"""


class Buffer:
    """Bytes or a memoryview that is large."""

    __slots__ = ("is_bytes", "view")

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self.is_bytes = not isinstance(value, memoryview)
        view = memoryview(value)
        self.view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        """Its bytes, flat."""


_BUFFERS = frozenset((bytes, bytearray, memoryview))
_SCALARS = frozenset((int, float, str, bool, type(None)))


def with_buffers(value: Any) -> Any:
    """Return a value with its large buffers told apart; itself when there are none at its top."""
    kind = type(value)
    if kind is dict:
        for item in value.values():
            if type(item) in _BUFFERS and memoryview(item).nbytes >= LEND:
                return wrapped(value)
        return value
    return wrapped(value) if kind in _BUFFERS else value


def wrapped(value: Any) -> Any:
    """Return a value with its large buffers told apart, however deep; itself when there are none."""
    kind = type(value)
    if kind in _BUFFERS:
        return Buffer(value) if memoryview(value).nbytes >= LEND else value
    if kind is dict:
        made = {key: wrapped(item) for key, item in value.items()}
        return made if any(made[key] is not item for key, item in value.items()) else value
    if kind in (list, tuple) and not _SCALARS.issuperset(map(type, value)):
        items = [wrapped(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
