"""Strays: processes that a replica started and that were left to the keeper when whoever forked them ended.

Each has to be traced to the id it belongs to, so that it goes when that id goes and not before. In order of trust:
the process was seen below the id's main process; its environment carries SVCD_REPLICA; its session is the one the
id's main process leads; it came to the keeper in the same moment as a process of that id ended.
"""

from __future__ import annotations

import os

from svcd.host.processes import children, descendants, environment_of, kill, read_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MARKER = "SVCD_REPLICA"
"""The variable by which a process's environment names the id it belongs to."""


class Strays:
    """The strays of one keeper: children of this process that it did not fork itself."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        """Stray -> id; "" when it can be traced to none."""
        self._sessions: dict[int, str] = {}
        """Main process, which leads a session -> id."""
        self._seen: dict[tuple[int, int], str] = {}
        """(pid, start) seen below a main process that was killed -> id."""

    def __repr__(self) -> str:
        """Who has how many."""
        return f"<Strays {self._owners}>"

    def expect(self, main: int, owner: str) -> None:
        """Remember that `main`, a child about to lead its own session, is the main process of `owner`."""
        self._sessions[main] = owner

    def forget(self, main: int, owner: str) -> None:
        """Drop what is remembered of an id of which nothing is left."""
        self._sessions.pop(main, None)
        self._seen = {key: other for key, other in self._seen.items() if other != owner}

    def remember_tree(self, main: int, owner: str) -> None:
        """Note all that is below a main process now, before it is killed and its tree falls apart."""
        for pid in descendants(main):
            if stat := read_stat(pid):
                self._seen[stat.pid, stat.start] = owner

    def adopt(self, mains: Collection[int], ended: Collection[str]) -> None:
        """Trace the strays that came since the last call; `ended` are the ids of which a process was just reaped."""
        known = set(self._sessions.values())
        last_resort = next(iter(ended), "")
        for pid in children(os.getpid()):
            if pid not in mains and (not self._owners.get(pid)):
                owner = self._trace(pid)
                fresh = pid not in self._owners
                self._owners[pid] = owner if owner in known else last_resort if fresh else ""

    def _trace(self, pid: int) -> str:
        stat = read_stat(pid)
        if stat is None:
            return ""
        return (
            self._seen.get((pid, stat.start))
            or environment_of(pid, MARKER)
            or self._sessions.get(stat.session)
            or self._sessions.get(stat.group)
            or ""
        )

    def reaped(self, pid: int) -> str:
        """Forget a stray that was reaped; return the id it belonged to, "" for none."""
        return self._owners.pop(pid, "")

    def of(self, owner: str) -> list[int]:
        """The strays of an id."""
        return [pid for pid, other in self._owners.items() if other == owner]

    def kill(self, owner: str) -> bool:
        """SIGKILL the strays of an id with all below them; False when there are none."""
        pids = self.of(owner)
        kill_trees(pids)
        return bool(pids)


def kill_trees(pids: Iterable[int]) -> None:
    """SIGKILL these processes and all below them."""
    stats = [stat for top in pids for pid in (top, *descendants(top)) if (stat := read_stat(pid))]
    kill(stats, session=os.getsid(0))
