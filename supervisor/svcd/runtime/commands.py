"""From a replica of a command service to the order that starts its program: arguments, variables, port and socket.

Law: a replica keeps its port and the path of its socket for as long as the app runs, whatever becomes of its processes,
so that a URL that somebody has kept is right again once it is back. Only a chosen port that somebody else has taken
meanwhile is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from svcd.host.free_port import PortTakenError, choose_port, holder_outside, is_free
from svcd.runtime.settings import user_ids
from svcd.values.commands import HOST, Command, Sign, fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from svcd.runtime.launch import Launcher
    from svcd.runtime.replica import Replica
    from svcd.values.orders import Spawn
    from svcd.values.specs import ServiceSpec


@dataclass(slots=True)
class Place:
    """Where one replica is to take connections, should it want any."""

    number: int
    socket: str
    """Path of its Unix socket, which has that number."""
    port: int


def command_of(replica: Replica) -> Command:
    """Return what a replica of a command service runs."""
    if replica.spec.command is None:
        raise TypeError(f"{replica.spec.name} is no command service")
    return replica.spec.command


class Commands:
    """Makes spawn orders for programs, and knows where each was told to take connections."""

    def __init__(self, launcher: Launcher, services: Iterable[ServiceSpec]) -> None:
        self._launcher = launcher
        self._fixed = {each.command.port for each in services if each.command}
        """Ports that are given to services by name, and are not to be chosen for others."""
        self._places: dict[str, Place] = {}
        """By the name of a replica."""

    def __repr__(self) -> str:
        """Who was told what."""
        return f"<Commands {self._places}>"

    def place(self, name: str) -> list[Any] | None:
        """Return number, socket and port of a replica by its name, None for one that has none yet."""
        place = self._places.get(name)
        return [place.number, place.socket, place.port] if place else None

    def keep_place(self, name: str, number: int, socket: str, port: int) -> None:
        """Let a replica have the place that an earlier daemon gave it."""
        self._places[name] = Place(number, socket, port)

    def order(self, replica: Replica) -> Spawn:
        """Return the order for the replica's present generation.

        Raises OSError when no port is to be had, or the one it was given is taken: it would fail for it, or not even
        notice and leave its callers to whoever is there.
        """
        command = command_of(replica)
        is_new = replica.name not in self._places
        place = self._place(replica)
        if command.port:
            place.port = command.port  # an earlier daemon may have known another one
            if not is_free(HOST, place.port):
                taken = holder_outside(place.port, None, replica.process_id)
                raise PortTakenError(
                    taken or f"its port {place.port} is in use by a process that can't be seen from here"
                )
        elif not (is_new or is_free(HOST, place.port)):
            place.port = self._choose_port()
        self._launcher.make_place(replica.process_id, place.number, user_ids(replica.spec.process))
        fd = command.ready.fd if command.ready.sign is Sign.FD else 0
        argv = self._filled(replica, command.argv)
        return self._launcher.settled(replica, argv=argv, env=self.environment(replica), notify_fd=fd)

    def question(self, replica: Replica, argv: Sequence[str], number: str) -> Spawn:
        """Return the order for one run of a command that asks how the program is.

        It runs as the program does, but for its control groups, and what it prints is in nobody's log.
        """
        name = f"{replica.process_id}?{number}"
        filled = self._filled(replica, argv)
        order = self._launcher.settled(replica, argv=filled, env=self.environment(replica) | {"SVCD_REPLICA": name})
        return replace(order, id=name, log="", cgroups=[])

    def environment(self, replica: Replica) -> dict[str, str]:
        """Return the whole environment of the replica's present process, or of the one that comes."""
        place = self._place(replica)
        own = {"PORT": str(place.port), "SOCKET": place.socket}
        if command_of(replica).ready.sign is Sign.NOTIFY:
            own["NOTIFY_SOCKET"] = self.notify_path(replica)
        return self._launcher.environment(replica) | own

    def url(self, replica: Replica) -> str:
        """Return what those that depend on it are told; "" when it takes no connections."""
        return self._filled(replica, [command_of(replica).url])[0]

    def where(self, replica: Replica) -> str | tuple[str, int]:
        """Return where it is to take connections: the path of its socket, or host and port."""
        place = self._place(replica)
        return place.socket if command_of(replica).on_socket else (HOST, place.port)

    def notify_path(self, replica: Replica) -> str:
        """Return the path at which the daemon hears it."""
        return self._launcher.notify_path(self._place(replica).number)

    def _place(self, replica: Replica) -> Place:
        place = self._places.get(replica.name)
        if place is None:
            number = self._launcher.number()
            path = self._launcher.socket_path(number, user_ids(replica.spec.process))
            place = Place(number, path, command_of(replica).port or self._choose_port())
            self._places[replica.name] = place
        return place

    def _choose_port(self) -> int:
        return choose_port(HOST, self._fixed | {place.port for place in self._places.values()})

    def _filled(self, replica: Replica, texts: Sequence[str]) -> list[str]:
        place = self._place(replica)
        words = {
            "port": str(place.port),
            "socket": place.socket,
            "replica": str(replica.index),
            "python": replica.spec.python,
        }
        return [fill(text, words) for text in texts]
