"""How a request's pieces come from the protocol to the application, and which task runs it.

Hypercorn has a channel of trio's, and a task for each request. Each use of a channel takes a turn of the event loop,
four for a request that came in one piece, and a task costs as much again as the application of a small request.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.trio.task_group import TaskGroup, _handle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper


_ENDS = ("http.disconnect", "websocket.disconnect")
"""Types of the last message of a request."""
_ONE_AT_A_TIME = ("1.1", "1.0")
"""Versions in which a connection has one request at a time."""


class Inbox:
    """The messages of one request: one task puts, one at a time receives.

    `size` of them may wait. `stir` is called before somebody waits.
    """

    __slots__ = ("_change", "_is_over", "_messages", "_size", "_stir")

    def __init__(self, size: int, stir: Callable[[], None] = lambda: None) -> None:
        self._messages: deque[Any] = deque()
        self._size = size
        self._stir = stir
        self._is_over = False
        """The last message has been put."""
        self._change: trio.Event | None = None
        """Set for whoever waits: for a message, or for room."""

    def __repr__(self) -> str:
        return f"<Inbox [{len(self._messages)} messages]>"

    @property
    def last(self) -> Any:
        """The latest message of those that wait; None where none does."""
        return self._messages[-1] if self._messages else None

    async def put(self, message: Any) -> None:
        """Add a message; wait while there are too many.

        The last one does not wait: it may come from the task that would receive. What has not been added by then is
        dropped, as nobody receives it any more.
        """
        is_end = _is_end(message)
        self._is_over = self._is_over or is_end
        while len(self._messages) >= self._size and not self._is_over:
            await self._changed()
        if is_end or not self._is_over:
            self._messages.append(message)
            self._wake()

    async def receive(self) -> Any:
        """Return the next message; wait for it."""
        while not self._messages:
            await self._changed()
        message = self._messages.popleft()
        self._wake()
        return message

    async def _changed(self) -> None:
        self._stir()
        if self._change is None:
            self._change = trio.Event()
        await self._change.wait()

    def _wake(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None


def _is_end(message: Any) -> bool:
    return isinstance(message, dict) and message.get("type") in _ENDS


class Requests(TaskGroup):
    """Starts the applications of one connection's requests in a nursery that hypercorn has opened.

    The application of a request that came as a whole is left for the task that reads, which has nothing else to do
    until it is answered: `take_whole`. As soon as one of them would wait for the other, each has a task of its own.
    `pass_on` is to let another task read where the one that does is busy with an application.
    """

    def __init__(self, nursery: trio.Nursery, pass_on: Callable[[], None]) -> None:
        super().__init__()
        self._requests = self._nursery = nursery
        self._pass_on = pass_on
        self._new: Callable[[], Awaitable[None]] | None = None
        """An application that has not been started."""
        self._inbox: Inbox | None = None

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Run the application for one request, or be ready to; return what takes its messages."""
        inbox = Inbox(config.max_app_queue_size, self.stir)
        threads = (trio.to_thread.run_sync, trio.from_thread.run)
        run = partial(_handle, app, config, scope, inbox.receive, send, *threads)
        if scope["type"] == "http" and scope["http_version"] in _ONE_AT_A_TIME:
            self._new, self._inbox = run, inbox
        else:
            self._requests.start_soon(run)
        return inbox.put

    def take_whole(self) -> Callable[[], Awaitable[None]] | None:
        """Return the application of a request that has come as a whole, to be run; start one whose has not."""
        if self._new is None or self._inbox is None:
            return None
        if (last := self._inbox.last) is None or last.get("more_body", False):
            self.stir()
            return None
        run, self._new, self._inbox = self._new, None, None
        return run

    def stir(self) -> None:
        """See that both go on, reader and application: one of them is about to wait for the other."""
        if self._new is None:
            self._pass_on()
        else:
            self._requests.start_soon(self._new)
            self._new = self._inbox = None
