"""Large arrays are brought into the arena before they are sent, so that the event loop goes on meanwhile.

Smaller ones, and those deep inside other values, are copied where the message is made.
"""

from __future__ import annotations

import sys
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.buffers import BUFFERS, FEW, LEND, may_be_large, with_buffers
from svcd_ipc.filling import place
from svcd_ipc.tensors import Flat, flat, is_tensor

if TYPE_CHECKING:
    from svcd_ipc.sharing import Sharing

__all__ = ["LARGE", "Staging", "may_be_large"]

LARGE: Final = 8 * 1024 * 1024
"""Bytes of an array whose copy would hold up the event loop: half a millisecond."""

_PATIENCE, _PAUSE = 10.0, 0.01
"""Seconds for which an array that is larger than a frame waits for room in the arena, and between two looks."""


class Staging:
    """Brings the large arrays of a value into the arena before the value is sent over one connection."""

    def __init__(self, sharing: Sharing, limit: int) -> None:
        self._sharing = sharing
        self._limit = limit
        """Bytes of the largest frame."""

    async def prepared(self, value: Any, patience: float = inf) -> Any:
        """Return the value with what is large in it ready to be lent, if `may_be_large`.

        patience: seconds for which this may take, at most.
        """
        if self._has_work(value):
            value = await self._all_staged(value, patience)
        # Those deeper inside are found when the message turns out to be long.
        return with_buffers(value) if has_buffer(value) else value

    def _has_work(self, value: Any) -> bool:
        """Tell whether a value is large and not in the arena yet, or one of its items where they are few."""
        if not isinstance(value, (dict, list, tuple)):
            return self._is_to_be_staged(value)
        items = value.values() if isinstance(value, dict) else value
        return len(value) <= FEW and any(map(self._is_to_be_staged, items))

    def _is_to_be_staged(self, value: Any) -> bool:
        if not is_large(value):
            return False
        numpy = sys.modules.get("numpy")
        is_array = numpy is not None and type(value) is numpy.ndarray
        return self._sharing.would_copy(value) if is_array else is_tensor(value)

    async def _all_staged(self, value: Any, patience: float) -> Any:
        """Return the value with large arrays replaced, its own or those of its items."""
        with trio.move_on_after(min(patience, _PATIENCE)):
            if isinstance(value, dict):
                return {name: await self._staged(item) for name, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [await self._staged(item) for item in value]
            return await self._staged(value)
        return value

    async def _staged(self, array: Any) -> Any:
        if not self._is_to_be_staged(array):
            return array
        if is_tensor(array):
            return await self._staged_tensor(array)
        copied = await self._copied(array)
        return array if copied is None else copied

    async def _staged_tensor(self, tensor: Any) -> Any:
        try:
            found = flat(tensor)
        except TypeError:
            return tensor  # Whoever packs it says where it stands.
        copied = await self._copied(found.data) if self._sharing.may_lend else None
        return tensor if copied is None else Flat(found.dtype, found.shape, copied)

    async def _copied(self, value: Any) -> Any:
        """Return a copy of an array or a flat memoryview in the arena, or None when there is no room."""
        memory = self._sharing.memory
        copied = await place(memory, value)
        if copied is None and self._limit <= value.nbytes <= memory.size:  # There is no other way for it.
            while copied is None and self._sharing.may_lend:
                await trio.sleep(_PAUSE)
                copied = await place(memory, value)
        return copied


def is_large(value: Any) -> bool:
    """Whether an array is worth a thread."""
    return getattr(value, "nbytes", 0) >= LARGE


def has_buffer(value: Any) -> bool:
    """Whether a value is a large buffer, or one of its items is."""
    if type(value) is dict:
        return any(type(item) in BUFFERS and len(item) >= LEND for item in value.values())
    return type(value) in BUFFERS and len(value) >= LEND
