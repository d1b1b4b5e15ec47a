"""Ends replicas that take more memory than they may have, where no control group makes the kernel do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from svcd.values.units import about

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from svcd.runtime.replica import Replica

INTERVAL = 0.5
"""Seconds between looks. What a replica can take in that time is what a machine has to have to spare."""


class MemoryWatch:
    """Looks at all replicas from time to time."""

    def __init__(
        self,
        replicas: Callable[[], Iterable[Replica]],
        look: Callable[[int], int],
        weigh: Callable[[int], int],
    ) -> None:
        """Take what gives the replicas, and two ways to measure a process tree by its pid, in bytes.

        look: quick, and never less than the truth; weigh: the truth.
        """
        self._replicas = replicas
        self._look = look
        self._weigh = weigh

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            for replica in self._replicas():
                self._judge(replica)
            await trio.sleep(INTERVAL)

    def _judge(self, replica: Replica) -> None:
        limit = replica.spec.resources.memory
        if limit is None or replica.pid is None or self._look(replica.pid) <= limit:
            return
        used = self._weigh(replica.pid)
        if used > limit:
            replica.end(f"over its memory of {about(limit)}: it had {about(used)}")
