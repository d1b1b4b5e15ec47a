"""Bytes and memoryviews that are large enough to be lent, found in a value before it is packed.

msgpack takes them itself and asks nobody, so they are told apart from what it knows.
"""

from __future__ import annotations

from typing import Any, Final

LEND: Final = 128 * 1024
"""Bytes of an array, memoryview or bytes from which on it is lent where memory is shared.

As `bench/arrays.py --threshold` finds it, in µs for a hop there and a number back, lent and through the socket (two
busy cores, Linux 6.18): 64 KiB 103 and 94, 128 KiB 109 and 111, 256 KiB 121 and 146, 1 MiB 259 and 1118, 4 MiB 529 and
3672.
"""


SCATTERED: Final = "a memoryview whose bytes do not lie in one piece cannot travel; send its tobytes()"


class Buffer:
    """Bytes or a memoryview that is large."""

    __slots__ = ("is_bytes", "view")

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self.is_bytes = not isinstance(value, memoryview)
        view = memoryview(value)
        if not view.c_contiguous:
            raise TypeError(SCATTERED)
        self.view = view.cast("B")
        """Its bytes, flat."""


FEW: Final = 64
"""Items of a value up to which each is looked at."""

BUFFERS = frozenset((bytes, bytearray, memoryview))
_SCALARS = frozenset((int, float, str, bool, type(None)))


def may_be_large(value: Any) -> bool:
    """Whether there is anything to prepare in a value; asked of all arguments and results, so it costs little."""
    kind = type(value)
    if kind is dict:
        for item in value.values():
            if type(item) not in _SCALARS:
                return len(value) <= FEW
        return False
    return kind not in _SCALARS


def with_buffers_in(message: list[Any], of: int) -> list[Any] | None:
    """Return a message whose value, at index `of`, has its large buffers told apart; None when there are none.

    That takes as long as to pack it, so it is for messages of at least LEND bytes, which are then packed again.
    """
    found = with_buffers(message[of])
    return None if found is message[of] else [*message[:of], found, *message[of + 1 :]]


def with_buffers(value: Any) -> Any:
    """Return a value with its large buffers told apart, however deep; itself when there are none."""
    kind = type(value)
    if kind in BUFFERS:
        return Buffer(value) if memoryview(value).nbytes >= LEND else value
    if kind is dict:
        made = {key: with_buffers(item) for key, item in value.items()}
        return made if any(made[key] is not item for key, item in value.items()) else value
    if kind in (list, tuple) and not _SCALARS.issuperset(map(type, value)):
        items = [with_buffers(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
