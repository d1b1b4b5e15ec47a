"""Strays: processes that a replica started and that were left to the keeper when whoever forked them ended.

Each has to be traced to the id it belongs to, so that it goes when that id goes and not before. In order of trust:
the process was seen below the id's main process; it has the mark of that id (host/descent.py); its environment carries
SVCD_REPLICA; its process group is the one that the id's main process leads; it came to the keeper while processes of
that id were ending.
"""

from __future__ import annotations

import os

from svcd.host.descent import Mark, mark_of
from svcd.host.processes import children, descendants, environment_of, kill, read_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from svcd.host.processes import ProcessStat

MARKER = "SVCD_REPLICA"
"""The variable by which a process's environment names the id it belongs to."""


class Strays:
    """The strays of one keeper: children of this process that it did not fork itself."""

    def __init__(self, keeper: int | None = None) -> None:
        """keeper: its part of the mark on all that it starts, None where it has none."""
        self._keeper = keeper
        self._last = 0
        self._numbers: dict[int, str] = {}
        """The number in the mark of its processes -> id."""
        self._owners: dict[int, str] = {}
        """Stray -> id; "" when it can be traced to none."""
        self._groups: dict[int, str] = {}
        """Main process, which leads a process group -> id."""
        self._seen: dict[tuple[int, int], str] = {}
        """(pid, start) seen below a main process that was killed -> id."""

    def __repr__(self) -> str:
        """Who has how many."""
        return f"<Strays {self._owners}>"

    def next_mark(self) -> Mark | None:
        """Return what the processes of an id that is about to be spawned shall be known by."""
        self._last += 1
        return None if self._keeper is None else Mark(self._last, self._keeper)

    def expect(self, main: int, owner: str, mark: Mark | None) -> None:
        """Remember that `main`, a child about to lead its own process group, is the main process of `owner`."""
        if mark is not None:
            self._numbers[mark.number] = owner
        self._groups[main] = owner

    def forget(self, main: int, owner: str) -> None:
        """Drop what is remembered of an id of which nothing is left."""
        self._groups.pop(main, None)
        self._numbers = {number: other for number, other in self._numbers.items() if other != owner}
        self._seen = {key: other for key, other in self._seen.items() if other != owner}

    def remember_tree(self, main: int, owner: str) -> None:
        """Note all that is below a main process now, before it is killed and its tree falls apart."""
        for pid in descendants(main):
            if stat := read_stat(pid):
                self._seen[stat.pid, stat.start] = owner

    def adopt(self, mains: Collection[int], ending: Sequence[str]) -> None:
        """Trace the strays that came since the last call; `ending` are the ids of which processes end just now."""
        for pid in children(os.getpid()):
            if pid not in mains and not self._owners.get(pid):
                stat = read_stat(pid)
                owner = "" if stat is None else self._trace(stat)
                # One that is untraceable for being half dead may have children that come to us with its end, so it
                # has to hold up Gone. When it is laid at the wrong door, no harm is done.
                if not owner and ending and (pid not in self._owners or stat is None or not stat.resident):
                    owner = ending[0]
                self._owners[pid] = owner

    def _trace(self, stat: ProcessStat) -> str:
        return (
            self._seen.get((stat.pid, stat.start))
            or self._marked(stat.pid)
            or environment_of(stat.pid, MARKER)
            or self._groups.get(stat.group)
            or ""
        )

    def _marked(self, pid: int) -> str:
        mark = mark_of(pid)
        return self._numbers.get(mark.number, "") if mark and mark.keeper == self._keeper else ""

    def reaped(self, pid: int) -> str:
        """Forget a stray that was reaped; return the id it belonged to, "" for none."""
        return self._owners.pop(pid, "")

    def kill(self, living: Collection[str]) -> set[str]:
        """SIGKILL all strays but those of the ids in `living` and those without an owner; return whose there were."""
        doomed = {pid: owner for pid, owner in self._owners.items() if owner and owner not in living}
        kill_trees(doomed)
        return set(doomed.values())


def kill_trees(pids: Iterable[int]) -> None:
    """SIGKILL these processes and all below them."""
    stats = [stat for top in pids for pid in (top, *descendants(top)) if (stat := read_stat(pid))]
    kill(stats, sparing=os.getpgrp())
