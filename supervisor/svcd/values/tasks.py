"""The settings of background tasks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """Where tasks are kept, and how many. Times in seconds, sizes in bytes."""

    store: str = ""
    """Path of the file; "" is the one in the app's state directory."""
    max_queued: int = 10_000
    """Tasks that wait to be begun; one more is answered 429."""
    max_size: int = 8 << 30
    """Of all inputs and results; beyond it a task is answered 507."""
    result_ttl: float = 86_400.0
    """For which a task and its result are kept once it has ended."""
    concurrency: int | None = None
    """Tasks that one ingress process has running at once; None leaves it to what the entry's replicas admit."""
