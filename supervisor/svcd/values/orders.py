"""What the daemon orders from the keeper, and what the keeper tells it.

Each order and event travels as one frame: a msgpack array whose first element is the class name and whose rest are its
fields in order. `pack` gives that list and `unpack` reads it back; the values are msgpack's own types.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

Wire = list[Any]


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process; answered by Spawned or SpawnFailed, later by Exited and Gone."""

    id: str
    """Name of this process for the life of the keeper, such as `Classifier/0#3` (replica 0, generation 3)."""
    argv: list[str]
    env: dict[str, str]
    """The whole environment; nothing is added."""
    cwd: str
    stdin: bytes
    """What the child reads from its standard input before end of file."""
    log: str
    """Path of the log file that its stdout and stderr are written to."""
    sockets: list[str]
    """Names of listening sockets (see Listen) that the child gets as descriptors 3, 4, ... in this order."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the main process of a spawned id; unknown or exited ids are ignored."""

    id: str
    signum: int


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL everything that the process of this id started, itself included; answered by Gone."""

    id: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Bind a TCP socket and hold it for children; answered by Listening or ListenFailed."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Kill all that is left, then exit 0."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The exec succeeded. Spawned is not ready."""

    id: str
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """There is no process: fork or exec failed."""

    id: str
    errno: int
    message: str
    """Names the path that could not be executed or entered."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The main process of this id ended; what it started may still live (it is being killed)."""

    id: str
    pid: int
    code: int
    """Exit status, or minus the signal number."""
    last_lines: list[str]
    """The last log lines, oldest first."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing that this id started is left."""

    id: str


@dataclass(frozen=True, slots=True)
class Listening:
    """The socket is bound and listening."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ListenFailed:
    """The address could not be bound."""

    name: str
    errno: int
    message: str


Order = Spawn | Signal | Kill | Listen | Shutdown
Event = Spawned | SpawnFailed | Exited | Gone | Listening | ListenFailed


class _Kinds:
    by_name: ClassVar[dict[str, type[Order | Event]]] = {
        kind.__name__: kind
        for kind in (
            *(Spawn, Signal, Kill, Listen, Shutdown),
            *(Spawned, SpawnFailed, Exited, Gone, Listening, ListenFailed),
        )
    }


def pack(message: Order | Event) -> Wire:
    """Return the wire form, a list of msgpack's own types."""
    return [type(message).__name__, *(getattr(message, field.name) for field in fields(message))]


def unpack(wire: Wire) -> Order | Event:
    """Read a wire form back. Raises ValueError when it is not one."""
    try:
        return _Kinds.by_name[wire[0]](*wire[1:])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"not an order or event: {wire!r:.200}") from error
