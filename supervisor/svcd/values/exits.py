"""How a process ended, in words."""

from __future__ import annotations

import signal

from svcd.values.units import about


def describe_exit(code: int, *, past: bool = False) -> str:
    """Say in words how a process ended. code: exit status, or minus the signal number; past: as a predicate."""
    if code >= 0:
        return f"exited with status {code}"
    killed = "was killed" if past else "killed"
    try:
        return f"{killed} by {signal.Signals(-code).name}"
    except ValueError:
        return f"{killed} by signal {-code}"


def describe_oom(code: int, oom: str, memory: int | None) -> str:
    """Say how a process ended of which the kernel killed something for memory.

    Args:
        code: As in `describe_exit`.
        oom: What the kernel ran out of, as in `Exited`.
        memory: How many bytes the process may have.
    """
    is_own = oom == "limit" and memory is not None
    why = (
        f"for memory (its limit is {about(memory or 0)})" if is_own else "for memory, of which the machine had no more"
    )
    if code == -signal.SIGKILL:
        return f"killed by the kernel {why}"
    return f"{describe_exit(code)} after the kernel had killed one of its processes {why}"
