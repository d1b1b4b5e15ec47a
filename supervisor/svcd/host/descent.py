"""A mark that the kernel hands down to everything a keeper ever starts, whatever becomes of parents and environments.

It is a limit: RLIMIT_RTTIME, at a number of microseconds that is the keeper's own and longer than any machine lives.
The kernel copies limits to every child, keeps them over exec, setsid and changes of user, and shows them to all in
/proc/PID/limits. This one matters to nobody else: it holds for processes under real-time scheduling alone. Only root
could raise the hard limit again, and who lowers it means to hide.

The hard limit says which keeper, the soft one, a little below it, which of the ids that it spawned. The keeper traces
strays to their ids by it. It needs no mark to find them, as they are below it; but a daemon that took it over is no
ancestor of theirs, and this is how it finds what is left when guard and keeper have been killed at once.
"""

from __future__ import annotations

import os
import resource
from typing import NamedTuple

_SPAN = 1 << 32
"""How many ids one keeper can tell apart."""
_TOP = 1 << 62
"""The largest mark: 146,000 years. Those of keepers that run below another keeper lie below that one's."""
_BOTTOM = 1 << 61
"""A limit below this was set by somebody who means it, and stays."""
_NAME = b"Max realtime timeout"


class Mark(NamedTuple):
    """What a process is known by."""

    number: int
    """Of the id that it belongs to, for its keeper; 0 is the keeper itself, or its guard."""
    keeper: int

    @property
    def rlimits(self) -> dict[str, list[int]]:
        """The limit that says so, soft and hard, as `Spawn.rlimits`."""
        return {"rttime": [self.keeper - self.number, self.keeper]}


def mark_descendants() -> int | None:
    """Mark this process and all that it starts from now on; return the keeper's part.

    Where somebody has set a real limit nothing is done, and None returned.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    upper = _TOP if hard == resource.RLIM_INFINITY else min(hard, _TOP)
    keeper = upper - _SPAN - int.from_bytes(os.urandom(6), "little")
    if keeper < _BOTTOM:
        return None
    resource.setrlimit(resource.RLIMIT_RTTIME, (keeper, keeper))
    return keeper


def mark_of(pid: int) -> Mark | None:
    """Return the mark of a process; None when it has none, or there is no such process."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as limits:  # noqa: PTH123 - pathlib is a tenth of the keeper's start
            line = next((line for line in limits if line.startswith(_NAME)), b"")
    except OSError:
        return None
    match line.removeprefix(_NAME).split():
        case [soft, hard, *_] if soft.isdigit() and hard.isdigit() and int(hard) >= _BOTTOM:
            return Mark(max(0, int(hard) - int(soft)), int(hard))
    return None
