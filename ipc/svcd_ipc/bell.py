"""One task waits until another rings: trio.Event without the allocation, for tasks that wait again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Remembers one ring. Only one task may wait at a time."""

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._task: Task | None = None
        self._rung = False

    def ring(self) -> None:
        """Wake the waiting task, or let the next wait return at once."""
        if self._task is not None:
            reschedule(self._task)
            self._task = None
        else:
            self._rung = True

    async def wait(self) -> None:
        """Wait for a ring; a ring from before this wait counts. A checkpoint only when it has to wait."""
        if self._rung:
            self._rung = False
            return
        self._task = current_task()
        await wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: Callable[[], None]) -> Abort:
        self._task = None
        return Abort.SUCCEEDED
