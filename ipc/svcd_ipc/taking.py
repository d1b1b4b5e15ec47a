"""The callee's end of arguments that are streams: iterators from which the handler takes items as they come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from svcd_ipc.bell import Bell
from svcd_ipc.errors import CallError, InvalidArgument
from svcd_ipc.window import STREAM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd_ipc.messages import Feed


class Input:
    """An async iterator over the items of one argument; used up once, by one task, while the call runs.

    Nothing is asked of the caller before the first item is taken; then up to `window` items may be under way.
    """

    def __init__(self, title: str, *, window: int, want: Callable[[int], None]) -> None:
        self._title = title
        self._window = window
        self._want = want
        self._items: deque[Feed] = deque()
        self._bell = Bell()
        self._is_begun = False
        self._is_complete = False
        self._is_over = False
        self._taken = 0
        self._consumed = 0
        self._consumed_bytes = 0

    def __repr__(self) -> str:
        return f"<Input {self._title} [{self._taken} taken, {len(self._items)} waiting]>"

    def __aiter__(self) -> Input:
        return self

    async def __anext__(self) -> Any:
        if not (self._is_begun or self._is_over):
            self._is_begun = True
            self._want(self._window)
        while not (self._items or self._is_complete or self._is_over):
            await self._bell.wait()
        if self._is_over:
            raise CallError(f"{self._title}: its items can only be taken while the call runs")
        if not self._items:
            raise StopAsyncIteration
        return self._take(self._items.popleft())

    async def aclose(self) -> None:
        """Take no more items; the caller's iterator is closed when the call ends."""
        self._items.clear()
        self._is_begun = self._is_complete = True

    def push(self, feed: Feed) -> None:
        """Take an item that came."""
        if not self._is_complete:
            self._items.append(feed)
            self._bell.ring()

    def complete(self) -> None:
        """Take no more than has come."""
        self._is_complete = True
        self._bell.ring()

    def over(self) -> None:
        """Let go: the call has its answer."""
        self._is_over = True
        self._items.clear()
        self._bell.ring()

    def _take(self, feed: Feed) -> Any:
        """Return an item's value; give room for more in portions of half a window."""
        self._taken += 1
        self._consumed += 1
        self._consumed_bytes += feed.size
        if 2 * self._consumed >= self._window or 2 * self._consumed_bytes >= STREAM_BYTES:
            self._want(self._consumed)
            self._consumed = self._consumed_bytes = 0
        if feed.fault is not None:
            message = f"item {self._taken} cannot be read here: {feed.fault}"
            raise InvalidArgument(f"{self._title}: {message}", details=[{"field": self._title, "message": message}])
        return feed.value
