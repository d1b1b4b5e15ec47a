"""What waits for an answer of the peer: a call for one value, or a stream of items (used up in `streaming`)."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn

from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from svcd_ipc.bell import Bell
from svcd_ipc.window import STREAM_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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

    def wait(self) -> Awaitable[Any]:
        """Return what to await at once, while it is not settled, until it is. Cancelled: let go of the call."""
        self._task = current_task()
        return wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - whoever called awaits it: no coroutine but trio's own

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

    __slots__ = (
        *("_consumed", "_consumed_bytes", "_give_credit", "_window", "api", "bell", "deadline", "error", "id"),
        *("is_settled", "items", "start", "value"),
    )

    def __init__(self, api: str, deadline: float | None, window: int, give_credit: Callable[[int, int], None]) -> None:
        self.api = api
        self.deadline = inf if deadline is None else deadline
        self._window = window
        self._give_credit = give_credit
        self._consumed = 0
        self._consumed_bytes = 0
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

    def take(self) -> Item:
        """Return the first item, for its consumer; credit goes back to the producer in portions of half a window."""
        item = self.items.popleft()
        self._consumed += 1
        self._consumed_bytes += item.size
        if not self.is_settled and (2 * self._consumed >= self._window or 2 * self._consumed_bytes >= STREAM_BYTES):
            self._give_credit(self.id, self._consumed)
            self._consumed = self._consumed_bytes = 0
        return item

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """Nothing follows what has come; `error` is raised after it."""
        self.value = value
        self.error = error
        self.is_settled = True
        self.bell.ring()


def fail(pending: Pending | Arrivals) -> NoReturn:
    """Raise what it ended with, once; it is kept no longer.

    The error's traceback refers to the frames it went through, and they to what waited: if that or a variable there
    referred to the error, all would live until the collector comes, and with them the arrays in those frames.
    """
    error, pending.error = pending.error, None
    assert error is not None  # noqa: S101 - the callers have looked
    try:
        raise error
    finally:
        del error
