"""The life of a task: one table, which the store keeps to.

queued ──> in_progress ──> success | failure | cancelled | lost
   │  <──────────┘ (not started after all, or lost and allowed to run again)
   └──> cancelled
"""

from __future__ import annotations

from enum import StrEnum


class TaskStatus(StrEnum):
    """What became of a task so far. The words are those that clients see."""

    QUEUED = "queued"
    """On disk; has not been begun, or is to be begun again."""
    IN_PROGRESS = "in_progress"
    """Handed to a replica."""
    SUCCESS = "success"
    FAILURE = "failure"
    """Its code raised, its time was up, or its result cannot travel."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """It had been begun when what ran it died, and may have had its effect; it is not run again by itself."""


OPEN = frozenset((TaskStatus.QUEUED, TaskStatus.IN_PROGRESS))
ENDED = frozenset(TaskStatus) - OPEN
"""States that a task does not leave. It is forgotten a while later."""

TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.QUEUED: frozenset((TaskStatus.IN_PROGRESS, TaskStatus.CANCELLED)),
    TaskStatus.IN_PROGRESS: ENDED | {TaskStatus.QUEUED},
    **dict.fromkeys(ENDED, frozenset()),
}
