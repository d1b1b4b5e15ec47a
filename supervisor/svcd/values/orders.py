"""What the daemon orders from the keeper, and what the keeper tells it.

Each order and event travels as one frame: a msgpack array whose first element is the class name and whose rest are its
fields in order. `pack` gives that list and `unpack` reads it back; the values are msgpack's own types.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

Wire = list[Any]


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process; answered by Spawned or SpawnFailed, later by Exited and Gone."""

    id: str
    """Name of this process for the life of the keeper, such as `Classifier/0#3` (replica 0, generation 3)."""
    argv: list[str]
    env: dict[str, str] = field(repr=False)
    """The whole environment; nothing is added."""
    cwd: str
    stdin: bytes = field(repr=False)
    """What the child reads from its standard input before end of file."""
    log: str
    """Path of the log file that its stdout and stderr are written to; "" keeps no more than its last lines."""
    sockets: list[str]
    """Names of listening sockets (see Listen) that the child gets as descriptors 3, 4, ... in this order."""
    umask: int = 0o022
    nice: int = 0
    rlimits: dict[str, list[int]] = field(default_factory=dict)
    """Soft and hard limit by name (`nofile`); -1 is unlimited. What is not named stays as the keeper has it."""
    cpus: list[int] = field(default_factory=list)
    """The CPUs that it may run on; none named: all that the keeper may."""
    user: list[int] = field(default_factory=list)
    """User id, group id, then supplementary group ids; empty: those of the keeper."""
    cgroups: list[list[Any]] = field(default_factory=list)
    """[folder, [[file, text, required], ...]] of each control group to make for this process alone, what to write there
    before it joins, and whether the kernel has to have such a file."""
    notify_fd: int = 0
    """The descriptor of the child on which it says with a newline that it is ready (see Notified); 0 for none."""
    log_limits: list[float] = field(default_factory=list)
    """Bytes and seconds at which its log is rotated, and bytes that it may print in a while; [] for the usual."""


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
class Linger:
    """From now on outlive the daemon: keep everything for a while when it goes, and let another take over."""

    seconds: float
    """0: end with the daemon, as without this order."""
    path: str
    """Of the Unix socket at which another daemon finds the keeper."""
    svcd: str
    """Version of svcd, for whoever comes."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep something for the daemon that takes over; it is given back as Recalled."""

    key: str
    value: bytes = field(repr=False)
    """Empty: forget it."""


@dataclass(frozen=True, slots=True)
class Attach:
    """The first order of a daemon that takes over, and its answer to Greeting; answered by Kept..., Recalled...,
    Attached."""

    version: int
    """LINK_VERSION of the daemon."""


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
class Notified:
    """It wrote a newline to its `notify_fd`."""

    id: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The main process of this id ended; what it started may still live (it is being killed)."""

    id: str
    pid: int
    code: int
    """Exit status, or minus the signal number."""
    last_lines: list[str]
    """The last log lines, oldest first."""
    oom: str = ""
    """What the kernel ran out of when it killed a process of this id for memory: `limit`, the memory that this id may
    have; `machine`, memory as such; "" when it did not."""


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


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first word to whoever comes, to take over or to ask. Its fields never change, so that any version reads it.

    Further elements may follow on the wire; the first of them is how many seconds of the grace are left.
    """

    version: int
    """LINK_VERSION of the keeper."""
    svcd: str
    """Version of svcd that the keeper is of."""
    guard: int
    """Pid of the keeper's guard."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A process that the keeper has."""

    id: str
    pid: int
    has_ended: bool
    """Its main process has ended; Gone follows."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What an earlier daemon had the keeper remember."""

    key: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attached:
    """That was all; from here on events are news."""


LINK_VERSION = 1
"""Of orders and events between daemon and keeper. It changes with what a daemon can't do with an older keeper."""

Order = Spawn | Signal | Kill | Listen | Linger | Remember | Attach | Shutdown
News = Spawned | SpawnFailed | Notified | Exited | Gone | Listening | ListenFailed
"""What happens while a daemon is there."""
Event = News | Greeting | Kept | Recalled | Attached


class _Kinds:
    by_name: ClassVar[dict[str, type[Order | Event]]] = {
        kind.__name__: kind
        for kind in (
            *(Spawn, Signal, Kill, Listen, Linger, Remember, Attach, Shutdown),
            *(Spawned, SpawnFailed, Notified, Exited, Gone, Listening, ListenFailed),
            *(Greeting, Kept, Recalled, Attached),
        )
    }


def pack(message: Order | Event) -> Wire:
    """Return the wire form, a list of msgpack's own types."""
    return [type(message).__name__, *(getattr(message, each.name) for each in fields(message))]


def unpack(wire: Wire) -> Order | Event:
    """Read a wire form back. Raises ValueError when it is not one."""
    try:
        return _Kinds.by_name[wire[0]](*wire[1:])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"not an order or event: {_told(wire)}") from error  # its fields may hold secrets


def _told(wire: object) -> str:
    return f"{wire[0]!r:.40} of {len(wire)} elements" if isinstance(wire, list) and wire else f"a {type(wire).__name__}"
