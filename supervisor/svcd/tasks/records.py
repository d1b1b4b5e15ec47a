"""What goes into the store and comes out of it. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svcd.tasks.states import TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task as it is handed in; its input has been validated."""

    id: str
    api: str
    body: bytes
    media_type: str
    """Of the body."""
    accept: str = ""
    """Which forms of a result the client takes, as in HTTP."""
    trace: str | None = None
    """W3C traceparent of the request."""
    idempotent: bool = False
    timeout: float | None = None
    """Seconds for one run."""
    retries: int = 0
    """How often it is run again after its replica was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A task that is to be run now, by this process."""

    id: str
    api: str
    body: bytes
    media_type: str
    accept: str
    trace: str | None
    timeout: float | None
    attempt: int
    """How often it has been begun before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run gave, in the form in which it is answered."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a run gave nothing."""

    code: str
    message: str
    more: bytes = b""
    """What else whoever ran it wants to know again when the fault is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """All that is known of a task but its input and its result."""

    id: str
    api: str
    status: TaskStatus
    attempts: int
    """How often it has been begun."""
    created_at: float
    started_at: float | None
    """When it was begun last."""
    ended_at: float | None
    expires_at: float | None
    """When it is forgotten; None before it has ended."""
    retry_of: str | None
    """The task whose input it took over."""
    fault: Fault | None

    def to_json(self) -> dict[str, Any]:
        """Return what clients are told. `executed_at` is BentoML's word for the end."""
        return {
            "task_id": self.id,
            "status": str(self.status),
            "created_at": _time(self.created_at),
            "started_at": _time(self.started_at),
            "executed_at": _time(self.ended_at),
            "expires_at": _time(self.expires_at),
            "attempts": self.attempts,
            "retry_of": self.retry_of,
            "error": {"code": self.fault.code, "message": self.fault.message} if self.fault else None,
        }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
