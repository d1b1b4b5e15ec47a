"""How a process ended, in words."""

from __future__ import annotations

import signal


def describe_exit(code: int, *, past: bool = False) -> str:
    """Say in words how a process ended. code: exit status, or minus the signal number; past: as a predicate."""
    if code >= 0:
        return f"exited with status {code}"
    killed = "was killed" if past else "killed"
    try:
        return f"{killed} by {signal.Signals(-code).name}"
    except ValueError:
        return f"{killed} by signal {-code}"
