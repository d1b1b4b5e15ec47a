"""What the kernel's scheduler accounts of a thread."""

from __future__ import annotations

from typing import NamedTuple


class ThreadTimes(NamedTuple):
    """One reading of /proc/PID/task/TID/schedstat."""

    ran: float
    """Seconds on a processor."""
    waited: float
    """Seconds of waiting for one, of the waits that are over."""
    turns: int
    """How often it was given one."""
    is_runnable: bool = False
    """It runs, or waits to; False too where nobody has looked."""
