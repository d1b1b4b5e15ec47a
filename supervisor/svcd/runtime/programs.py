"""The replicas of command services: the orders for their processes, when these are ready, and their URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.runtime.commands import Commands
from svcd.runtime.readiness import Readiness
from svcd.values.orders import Spawned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from svcd.runtime.launch import Launcher
    from svcd.runtime.processes import Processes
    from svcd.runtime.replica import Replica
    from svcd.values.orders import Event, Spawn
    from svcd.values.specs import ServiceSpec


class Programs:
    """All programs of one app."""

    def __init__(
        self,
        services: Iterable[ServiceSpec],
        launcher: Launcher,
        processes: Processes,
        start_soon: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        """Take the services, what makes orders, what runs them, and what runs a task until the app ends."""
        self._commands = Commands(launcher, services)
        self._processes = processes
        self._start_soon = start_soon
        self._watched: dict[str, Readiness] = {}
        """By process id, until the process has ended."""

    def __repr__(self) -> str:
        """Which run."""
        return f"<Programs {list(self._watched.values())}>"

    def order(self, replica: Replica) -> Spawn:
        """Return the order for the replica's next process, and begin to watch it. Raises OSError."""
        order = self._commands.order(replica)
        readiness = self._watched[replica.process_id] = Readiness(replica, self._commands, self._processes)
        self._start_soon(readiness.run)
        return order

    def adopt(self, replica: Replica) -> None:
        """Watch a process that was ready when an earlier daemon saw it last."""
        readiness = self._watched[replica.process_id] = Readiness(replica, self._commands, self._processes)
        readiness.heard(Spawned(replica.process_id, replica.pid or 0))
        self._start_soon(readiness.run)

    def place(self, replica: Replica) -> list[Any] | None:
        """Return number, socket and port that the replica was told; None for one that has not been started."""
        return self._commands.place(replica.name)

    def keep_place(self, name: str, number: int, socket: str, port: int) -> None:
        """Let a replica have the place that an earlier daemon gave it."""
        self._commands.keep_place(name, number, socket, port)

    def heard(self, event: Event, process_id: str) -> None:
        """Take what the keeper tells of a process; one that is no program's is not known here."""
        if process_id in self._watched:
            self._watched[process_id].heard(event)

    def forget(self, process_id: str) -> None:
        """Watch a process no longer."""
        if readiness := self._watched.pop(process_id, None):
            readiness.end()

    def environment(self, replica: Replica) -> dict[str, str]:
        """Return the whole environment of the replica's present process."""
        return self._commands.environment(replica)

    def urls(self, replicas: Iterable[Replica]) -> list[str]:
        """Return where these take connections."""
        return [url for replica in replicas if (url := self._commands.url(replica))]
