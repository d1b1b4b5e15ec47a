"""Plain iterators that blocking code passes as arguments, taken from in the thread that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.worker.portal import Errand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from queue import SimpleQueue

    from svcd.worker.portal import Portal

_END = object()


class Stepped:
    """A plain iterator as an async one; each step is taken by the thread that waits for the call, which owns it."""

    def __init__(self, items: Iterator[Any], portal: Portal, replies: SimpleQueue[Any]) -> None:
        self._items = items
        self._portal = portal
        self._replies = replies

    async def __anext__(self) -> Any:
        errand = Errand(lambda: next(self._items, _END), self._portal)
        self._replies.put(errand)
        item = await errand.result()
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Let a generator clean up, in its own thread if that still waits for the call; nothing here waits for it."""
        close = getattr(self._items, "close", None)
        if close is not None:
            self._replies.put(Errand(close, self._portal))


def stepped(named: Mapping[str, Any], portal: Portal, replies: SimpleQueue[Any]) -> dict[str, Any]:
    """Return the arguments with plain iterators made such as the loop can take from."""
    return {
        name: Stepped(value, portal, replies) if hasattr(type(value), "__next__") else value
        for name, value in named.items()
    }
