"""What can go wrong with tasks: what clients are told as errors of a call, and what the store says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd_ipc.errors import CallError, Overloaded, ServiceUnavailable

if TYPE_CHECKING:
    from svcd.tasks.states import TaskStatus


class TaskError(CallError):
    """There is no result of a task, for a reason that no plain call has."""


class UnknownTask(TaskError):  # noqa: N818 - errors of this tree are named after what happened
    """There is no task of this id: it never was, was another api's, or has expired."""

    code = "no_task"


class TaskNotDone(TaskError):  # noqa: N818 - as above
    """The task has not ended yet."""

    code = "not_done"


class TaskCancelled(TaskError):  # noqa: N818 - as above
    """The task was cancelled."""

    code = "cancelled"


class TaskExists(TaskError):  # noqa: N818 - as above
    """The id is that of another api's task."""

    code = "task_exists"


class QueueFull(Overloaded):
    """As many tasks wait as may. This one was not accepted."""

    code = "queue_full"


class StoreUnusable(ServiceUnavailable):
    """The store cannot be opened, read or written. Nothing of the step that failed has been done."""

    code = "storage"

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full
        """Whether space is what lacks."""

    def wire_details(self) -> dict[str, Any]:
        return {"is_full": self.is_full}


def not_done(task_id: str, status: TaskStatus) -> TaskNotDone:
    """Return the error of asking for the result of a task that has none yet."""
    return TaskNotDone(f"task {task_id} is {status}: it has no result yet")
