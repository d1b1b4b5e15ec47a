"""What waits for an answer of the peer: a call for one value, or a stream of items."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from svcd_ipc.bell import Bell
from svcd_ipc.connection import STREAM_BYTES
from svcd_ipc.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd_ipc.messages import Item

ENDED: Final = object()
"""In place of a value: the stream is complete."""


class Pending:
    """A call of this side that waits for one value."""

    __slots__ = ("_task", "api", "deadline", "error", "id", "is_settled", "start", "timing", "value")

    def __init__(self, api: str, deadline: float | None) -> None:
        self.api = api
        self.deadline = inf if deadline is None else deadline
        """When to give up on this side; the callee may have been told an earlier one."""
        self.id = 0
        self.start = 0
        """Bytes put before its frame, to tell whether any of it has left."""
        self.value: Any = None
        self.timing: list[Any] | None = None
        self.error: BaseException | None = None
        """What it ended with; no CallError where the caller's own iterator raised, which fed an argument."""
        self.is_settled = False
        self._task: Task | None = None

    async def wait(self) -> None:
        """Wait until it is settled. Cancelled: the caller has to let go of the call."""
        if not self.is_settled:
            self._task = current_task()
            await wait_task_rescheduled(self._abort)

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """Give the answer."""
        self.value = value
        self.error = error
        self.is_settled = True
        if self._task is not None:
            reschedule(self._task)

    def _abort(self, _raise_cancel: Callable[[], None]) -> Abort:
        self._task = None
        return Abort.SUCCEEDED


class Arrivals:
    """A call of this side that is answered with items (or after all with one value)."""

    __slots__ = ("api", "bell", "deadline", "error", "id", "is_settled", "items", "start", "value")

    def __init__(self, api: str, deadline: float | None) -> None:
        self.api = api
        self.deadline = inf if deadline is None else deadline
        self.id = 0
        self.start = 0
        self.items: deque[Item] = deque()
        self.value: Any = ENDED
        self.error: BaseException | None = None
        """What it ended with; no CallError where the caller's own iterator raised, which fed an argument."""
        self.is_settled = False
        self.bell = Bell()

    def push(self, item: Item) -> None:
        """Take an item that came."""
        self.items.append(item)
        self.bell.ring()

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """Nothing follows what has come; `error` is raised after it."""
        self.value = value
        self.error = error
        self.is_settled = True
        self.bell.ring()

    def fail(self) -> NoReturn:
        """Raise the error, once; it is kept no longer.

        Whoever raises it refers to this, and the error's traceback to them: see `Caller.call`.
        """
        error, self.error = self.error, None
        assert error is not None  # noqa: S101 - the callers have looked
        try:
            raise error
        finally:
            del error


class Stream:
    """The items of a streamed answer: an async iterator that is used up once, like an async generator.

    The call is sent when the first item is asked for. Leaving early, by `aclose`, cancellation or garbage collection,
    cancels the callee. An error is raised after the items that came before it, and ends the stream.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        *,
        window: int,
        send: Callable[[], None],
        give_credit: Callable[[int, int], None],
        let_go: Callable[[Arrivals], None],
    ) -> None:
        self._arrivals = arrivals
        self._window = window
        self._send: Callable[[], None] | None = send
        self._give_credit = give_credit
        self._let_go = let_go
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_closed = False
        self._consumed = 0
        self._consumed_bytes = 0

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        await self._await_arrival()
        arrivals = self._arrivals
        if not arrivals.items:
            return self._finish()
        item = arrivals.items.popleft()
        self._credit(item.size)
        if item.fault is not None:
            self.close()
            raise InvalidArgument(f"{arrivals.api}: an item of its stream cannot be read here: {item.fault}")
        return item.value

    async def aclose(self) -> None:
        """Leave the stream; the callee is cancelled when it has not finished."""
        self.close()

    def close(self) -> None:
        """Do what `aclose` does; nothing in it waits."""
        if not self._is_closed:
            self._is_closed = True
            self._arrivals.items.clear()
            if self._token is not None and not self._arrivals.is_settled:
                self._let_go(self._arrivals)

    async def first(self) -> tuple[bool, Any]:
        """Wait for the first of the answer; return (True, value) when it is one value and no stream."""
        await self._await_arrival()
        arrivals = self._arrivals
        if arrivals.error is not None and not arrivals.items:
            self._is_closed = True
            arrivals.fail()
        return arrivals.value is not ENDED, arrivals.value

    async def _await_arrival(self) -> None:
        """Wait until there is an item or the end. Cancellation closes the stream."""
        if self._send is not None and not self._is_closed:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._token = trio.lowlevel.current_trio_token()
            send, self._send = self._send, None
            send()
        try:
            while not (self._is_closed or self._arrivals.items or self._arrivals.is_settled):
                await self._arrivals.bell.wait()
        except trio.Cancelled:
            self.close()
            raise

    def _finish(self) -> Any:
        arrivals = self._arrivals
        if self._is_closed:
            raise StopAsyncIteration
        self._is_closed = True
        if arrivals.error is not None:
            arrivals.fail()
        if arrivals.value is not ENDED:
            raise InvalidArgument(f"{arrivals.api} answers with one value; call it instead of streaming it")
        raise StopAsyncIteration

    def _credit(self, size: int) -> None:
        """Count what was consumed; give it back to the producer in portions of half a window."""
        self._consumed += 1
        self._consumed_bytes += size
        if self._arrivals.is_settled:
            return
        if 2 * self._consumed >= self._window or 2 * self._consumed_bytes >= STREAM_BYTES:
            self._give_credit(self._arrivals.id, self._consumed)
            self._consumed = self._consumed_bytes = 0

    def __del__(self) -> None:
        if self._token is None or self._is_closed or self._arrivals.is_settled:
            return
        with suppress(trio.RunFinishedError):  # The collector may run in any thread.
            self._token.run_sync_soon(self._let_go, self._arrivals)
