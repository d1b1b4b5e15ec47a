"""What a daemon leaves to the next: notes on its replicas, which the keeper remembers, and how they are read back.

The keeper knows which processes there are; what they are, who may speak for them and how often they failed is in the
notes. They are written whenever a replica changes, in the same stream as the orders, so that the keeper never has a
process that its notes do not know. Notes are JSON; unknown fields are left out, so that svcd may grow some.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from svcd.values.errors import KeeperDiedError
from svcd.values.events import Change
from svcd.values.orders import Attached, Exited, Kept, Recalled, Remember

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping

    from svcd.runtime.launch import Launcher
    from svcd.runtime.replica import Replica
    from svcd.runtime.service import Service
    from svcd.values.boot import Address
    from svcd.values.orders import Event, Order
    from svcd.values.specs import ServiceSpec

_APP = "app"
_INFO = "info"
_UNIT = "unit:"
"""What the keys of notes that are of no replica are, or begin with; no name of a service has a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaNote:
    """One replica."""

    service: str
    index: int
    generation: int
    state: str
    sameness: str
    """Digest of what its process was started with, see `policy.sameness`."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the code that it was started with, by service."""
    failures: int = 0
    last_exit: str | None = None
    endings: list[dict[str, Any]] = field(default_factory=list)
    """The last times that a process ended unasked, each as a `Change`."""
    since: float = 0.0
    """When it came to that state, in seconds since the epoch."""
    reason: str = ""
    nonce: str = ""
    addresses: dict[str, list[str]] = field(default_factory=dict)
    """Path and secret of each of its services."""
    gpus: list[str] = field(default_factory=list)
    cpus: dict[str, int] = field(default_factory=dict)
    memory: int = 0
    place: list[Any] | None = None
    """Number, path of the socket and port that a program was told."""

    @property
    def name(self) -> str:
        """`Classifier/0`."""
        return f"{self.service}/{self.index}"

    @property
    def changes(self) -> list[Change]:
        """Its last endings."""
        return [Change(**each | {"last_lines": tuple(each["last_lines"])}) for each in self.endings]

    @property
    def process_id(self) -> str:
        """`Classifier/0#3`."""
        return f"{self.name}#{self.generation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppNote:
    """The app as a whole."""

    count: int = 0
    """The last number that a place was given."""
    wanted: dict[str, int] = field(default_factory=dict)
    """How many replicas there are to be of services that were scaled."""
    fixed: list[str] = field(default_factory=list)
    """Those of them that do not follow the load."""


class Notes:
    """Writes notes; only what has changed."""

    def __init__(self, send: Callable[[Order], None] | None) -> None:
        """Take what gives an order to the keeper; None where there is to be no other daemon."""
        self._send = send
        self._last: dict[str, bytes] = {}
        self._started: dict[Replica, tuple[str, dict[str, str]]] = {}

    def __repr__(self) -> str:
        """How many there are."""
        return f"<Notes {len(self._last)}>"

    def write_app(self, units: Mapping[str, Service], launcher: Launcher) -> None:
        """Have the keeper remember how many there are to be of each service, and the last number of a place."""
        if self._send is not None:
            scaled = {name: unit.wanted for name, unit in units.items() if unit.is_scaled}
            fixed = [name for name, unit in units.items() if unit.is_fixed]
            self._put(_APP, asdict(AppNote(count=launcher.count, wanted=scaled, fixed=fixed)))

    def write_told(self, info: Mapping[str, Any], units: Mapping[str, Mapping[str, Any]]) -> None:
        """Have it remember what operators are told of the app, and of each unit, whatever its replicas do.

        The next daemon answers with that until it has read the graph.
        """
        self._put(_INFO, info)
        for name, told in units.items():
            self._put(f"{_UNIT}{name}", told)

    def drop_unit(self, name: str) -> None:
        """Have it forget a unit that there is no longer."""
        self._put(f"{_UNIT}{name}", None)

    def started(self, replica: Replica, sameness: str, versions: Mapping[str, str] | None = None) -> None:
        """Know what the replica's present process was started with.

        versions: of its services, where they are not those that are configured now.
        """
        self._started[replica] = sameness, dict(versions or {each.name: each.version for each in replica.spec.all})

    def version(self, replica: Replica, service: ServiceSpec) -> str:
        """Return the version of a service's code that the replica's present process has."""
        _, versions = self._started.get(replica, ("", {}))
        return versions.get(service.name, service.version)

    def write(
        self,
        replica: Replica,
        *,
        nonce: str,
        addresses: Mapping[str, Address],
        place: list[Any] | None,
    ) -> None:
        """Have it remember a replica as it is now."""
        held = replica.assignment
        sameness, versions = self._started.get(replica, ("", {}))
        note = ReplicaNote(
            service=replica.spec.name,
            index=replica.index,
            generation=replica.generation,
            state=replica.state,
            sameness=sameness,
            versions=versions,
            failures=replica.failures,
            last_exit=replica.last_exit,
            endings=[asdict(each) for each in replica.endings],
            since=replica.since,
            reason=replica.reason,
            nonce=nonce,
            addresses={name: [*where] for name, where in addresses.items()},
            gpus=[*held.gpus] if held else [],
            cpus={str(cpu): share for cpu, share in held.cpus.items()} if held else {},
            memory=held.memory if held else 0,
            place=place,
        )
        self._put(note.name, asdict(note))

    def drop(self, replica: Replica) -> None:
        """Have it forget a replica."""
        self._started.pop(replica, None)
        if replica.name in self._last:
            self._put(replica.name, None)
            del self._last[replica.name]

    def _put(self, key: str, note: Mapping[str, Any] | None) -> None:
        value = json.dumps(note).encode() if note else b""
        if self._send is not None and self._last.get(key) != value:
            self._last[key] = value
            self._send(Remember(key, value))


@dataclass(slots=True)
class Heritage:
    """What there is when a daemon takes over."""

    kept: dict[str, Kept] = field(default_factory=dict)
    """Processes by id."""
    endings: dict[str, Exited] = field(default_factory=dict)
    """How processes ended, by id."""
    replicas: list[ReplicaNote] = field(default_factory=list)
    app: AppNote = field(default_factory=AppNote)
    info: dict[str, Any] = field(default_factory=dict)
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the last daemon told of the app, and of each unit, see `Notes.write_told`; nothing where it had not yet."""

    @classmethod
    async def receive(cls, events: AsyncIterable[Event]) -> Heritage:
        """Read all of it. Raises KeeperDiedError."""
        found = cls()
        async for event in events:
            match event:
                case Kept():
                    found.kept[event.id] = event
                case Exited():
                    found.endings[event.id] = event
                case Recalled(key, value) if key == _APP:
                    found.app = AppNote(**_known(AppNote, value))
                case Recalled(key, value) if key == _INFO:
                    found.info = json.loads(value)
                case Recalled(key, value) if key.startswith(_UNIT):
                    found.units[key.removeprefix(_UNIT)] = json.loads(value)
                case Recalled(_, value):
                    found.replicas.append(ReplicaNote(**_known(ReplicaNote, value)))
                case Attached():
                    return found
        raise KeeperDiedError("the keeper died while it was taken over; `svcd up` starts anew")


def _known(kind: type[ReplicaNote | AppNote], value: bytes) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: each for name, each in json.loads(value).items() if name in names}
