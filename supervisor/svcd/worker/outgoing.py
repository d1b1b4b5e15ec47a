"""Iterators that a caller passes as arguments, made such as the loop can take from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.worker.iterators import is_iterator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_END = object()


class Outgoing:
    """An async iterator that knows whether anything has been taken from it; until then a call may start over."""

    def __init__(self, items: Any) -> None:
        self._items = items
        self.has_begun = False

    def __aiter__(self) -> Outgoing:
        return self

    async def __anext__(self) -> Any:
        self.has_begun = True
        return await self._items.__anext__()

    async def aclose(self) -> None:
        """Close what was begun."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


class Stepping:
    """A plain iterator as an async one, for iterators that code on the loop passes: their steps must not block."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    async def __anext__(self) -> Any:
        item = next(self._items, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Let a generator clean up."""
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


Inputs = dict[str, Outgoing]
"""By argument."""


def split(named: Mapping[str, Any]) -> tuple[dict[str, Any], Inputs]:
    """Return a call's arguments without those that are iterators, and those."""
    inputs = {name: Outgoing(_async(value)) for name, value in named.items() if is_iterator(value)}
    return {name: value for name, value in named.items() if name not in inputs}, inputs


def any_begun(inputs: Inputs) -> bool:
    """Whether an item has been taken from any of them."""
    return any(items.has_begun for items in inputs.values())


def _async(value: Any) -> Any:
    if hasattr(type(value), "__anext__"):
        return value
    return aiter(value) if hasattr(type(value), "__aiter__") else Stepping(value)
