"""How a request's pieces come from the protocol to the application: hypercorn has a channel of trio's, this a queue.

Each use of a channel takes a turn of the event loop, four for a request that came in one piece.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.trio.task_group import TaskGroup, _handle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper


class Inbox:
    """The messages of one request: one task puts, one at a time receives. `size` of them may wait."""

    __slots__ = ("_change", "_messages", "_size")

    def __init__(self, size: int) -> None:
        self._messages: deque[Any] = deque()
        self._size = size
        self._change: trio.Event | None = None
        """Set for whoever waits: for a message, or for room."""

    def __repr__(self) -> str:
        return f"<Inbox [{len(self._messages)} messages]>"

    async def put(self, message: Any) -> None:
        """Add a message; wait while there are too many."""
        while len(self._messages) >= self._size:
            await self._changed()
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
        if self._change is None:
            self._change = trio.Event()
        await self._change.wait()

    def _wake(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None


class Requests(TaskGroup):
    """Starts a task for each request in a nursery that hypercorn has opened."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._requests = self._nursery = nursery

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Run the application for one request; return what takes its messages."""
        inbox = Inbox(config.max_app_queue_size)
        threads = (trio.to_thread.run_sync, trio.from_thread.run)
        self._requests.start_soon(_handle, app, config, scope, inbox.receive, send, *threads)
        return inbox.put
