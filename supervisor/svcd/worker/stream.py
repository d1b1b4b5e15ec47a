"""Streams of results: of an async generator, of a generator on the service thread, and as an iterator for `def` code.

All are classes and no generators: one that is closed before its first item still gives its slot back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from queue import SimpleQueue

    from svcd.worker.portal import Portal
    from svcd.worker.thread import ServiceThreads

_END = object()


class AsyncStream:
    """Items of an async generator, each checked where there is a check; tells once when it is over."""

    def __init__(self, items: Any, on_end: Callable[[], None], check: Callable[[Any], Any] | None = None) -> None:
        self._items = items
        self._on_end = on_end
        self._check = check
        self._ended = False

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self._items.__anext__()
        except BaseException:
            self._end()
            raise
        return item if self._check is None else self._check(item)

    async def aclose(self) -> None:
        """Let the generator clean up."""
        try:
            await self._items.aclose()
        finally:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()


class ThreadStream:
    """Items of a generator that runs on the service thread, one hand-over per item.

    A step that runs cannot be interrupted: a stream that is left then is closed, on its thread, once it has ended.
    """

    def __init__(
        self,
        items: Generator[Any, Any, Any],
        threads: ServiceThreads,
        on_end: Callable[[], None],
        check: Callable[[Any], Any] | None = None,
    ) -> None:
        self._items = items
        self._threads = threads
        self._on_end = on_end
        self._check = check
        self._stepping = False
        self._left = False

    def __aiter__(self) -> ThreadStream:
        return self

    async def __anext__(self) -> Any:
        if self._left:
            raise StopAsyncIteration
        self._stepping = True
        try:
            item = await self._threads.run(self._next, on_end=self._stepped)
        except trio.Cancelled:
            self._leave()
            raise
        except BaseException:
            self._over()
            raise
        if item is _END:
            self._over()
            raise StopAsyncIteration
        return item if self._check is None else self._check(item)

    async def aclose(self) -> None:
        """Let the generator clean up on its thread, as soon as that is free."""
        self._leave()

    def _next(self) -> Any:
        return next(self._items, _END)

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            if not self._stepping:
                self._threads.post(self._items.close, on_end=self._on_end)

    def _stepped(self) -> None:
        self._stepping = False
        if self._left:
            self._threads.post(self._items.close, on_end=self._on_end)

    def _over(self) -> None:
        self._left = True
        self._on_end()


class SyncStream:
    """A stream as a plain iterator, for code that blocks."""

    def __init__(self, items: Any, portal: Portal, replies: SimpleQueue[Any] | None = None) -> None:
        self._items = items
        self._portal = portal
        self._replies = replies
        self._ended = False

    def __iter__(self) -> SyncStream:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        try:
            return self._portal.run(self._items.__anext__, replies=self._replies)
        except StopAsyncIteration:
            self._ended = True
            raise StopIteration from None
        except BaseException:
            self._ended = True
            raise

    def close(self) -> None:
        """Take no more items and cancel the callee."""
        if not self._ended:
            self._ended = True
            self._portal.run(self._items.aclose)

    def __del__(self) -> None:
        if not self._ended:  # a loop that was left by `break`
            self._ended = True
            self._portal.post(self._items.aclose)
