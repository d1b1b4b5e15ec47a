"""The boot document: what a worker process reads from its standard input, as JSON, before it does anything else.

JSON and not msgpack, so that a worker under an interpreter that lacks msgpack can still say so.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from svcd.values.specs import Cors, HttpLimits, Probe
from svcd.values.tasks import TaskSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a worker process is; it says so in the hello of its control channel."""

    app: str
    service: str
    replica: int
    generation: int
    """Counts the processes of this replica; a late message of an earlier process is told by it."""
    nonce: str
    """A secret of this one process, so that nobody else can speak for it."""


class Address(NamedTuple):
    """Where a process takes calls."""

    path: str
    """Of its Unix socket."""
    secret: str = ""
    """What a caller's hello has to say; only those know it whom the daemon told of this address. "" is no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBoot:
    """One service that a replica runs."""

    name: str
    target: str
    """`module:Class`."""
    socket: str
    """Path at which it listens for calls."""
    secret: str = field(default="", repr=False)
    """As in `Address`."""
    timeout: float
    """Default deadline of a call, in seconds; as `max_queue` it holds for callers in this process."""
    max_concurrency: int
    max_queue: int = 1024
    threads: int
    async_backend: str = "trio"
    """What runs `async def` code: trio or asyncio."""
    dependencies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By attribute: `{service, max_queue, default_timeout (s), apis: {NAME: {is_async, is_stream, idempotent}},
    timeout (s or null), retries, fallback: null or as the first four}`."""
    liveness: Probe = field(default_factory=Probe)
    """How `__is_alive__` is asked."""
    readiness: Probe = field(default_factory=Probe)
    """How `__is_ready__` is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaBoot:
    """Boot document of a replica."""

    identity: Identity
    root: str
    """Folder that goes first on sys.path."""
    link: str
    """Path of the daemon's Unix socket for control channels."""
    services: list[ServiceBoot]
    """One, or those that share the process; each comes after all of them that it calls."""
    beat: float = 1.0
    """Seconds between two beats of its pulse."""
    outlives: bool = False
    """Whether it goes on without its daemon, and finds the next one at `link`."""
    hidden: list[str] = field(default_factory=list)
    """Names of variables whose values are not to be told."""
    spin: float = 0.0
    """Seconds for which it looks for an answer before it sleeps."""
    arena: int = 1 << 30
    """Bytes of the shared memory in which it shows arrays; 0: none."""
    role: str = "replica"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverBoot:
    """Boot document of the short-lived child that reads the dependency graph."""

    root: str
    targets: list[str]
    """`module:Class` of each service to start from."""
    report: str
    """Path of the JSON file to write, atomically."""
    asked_by: str = ""
    """Who names the targets, as the middle of an error message: ` (app.service, svcd.toml:2)`."""
    role: str = "discover"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressBoot:
    """Boot document of the ingress; descriptor 3 is the listening TCP socket."""

    identity: Identity
    link: str
    entry: str
    """Name of the entry service; the route to it comes over the control channel."""
    timeout: float
    max_queue: int
    limits: HttpLimits
    cors: Cors = field(default_factory=Cors)
    socket: str = ""
    """Path of the Unix socket at which it speaks HTTP as well; empty for none."""
    tasks: TaskSettings | None = None
    """With the path of the store; None where the entry has no tasks."""
    pulse: str = ""
    """Path of its pulse; empty for none."""
    beat: float = 1.0
    outlives: bool = False
    spin: float = 0.0
    arena: int = 1 << 30
    """These four as in `ReplicaBoot`."""
    role: str = "ingress"


def _service(data: dict[str, Any]) -> ServiceBoot:
    return ServiceBoot(**data | {name: Probe(**data[name]) for name in ("liveness", "readiness")})


def dump(boot: ReplicaBoot | DiscoverBoot | IngressBoot) -> bytes:
    """Return the JSON text of a boot document."""
    return json.dumps(asdict(boot)).encode()


def load(text: bytes) -> ReplicaBoot | DiscoverBoot | IngressBoot:
    """Read a boot document. Raises ValueError when it is not one."""
    data = json.loads(text)
    role = data.get("role")
    if role == "discover":
        return DiscoverBoot(**data)
    data["identity"] = Identity(**data["identity"])
    if role == "replica":
        data["services"] = [_service(service) for service in data["services"]]
        return ReplicaBoot(**data)
    if role == "ingress":
        data["limits"] = HttpLimits(**data["limits"])
        cors: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data["cors"].items()
        }
        data["cors"] = Cors(**cors)
        data["tasks"] = TaskSettings(**data["tasks"]) if data["tasks"] else None
        return IngressBoot(**data)
    raise ValueError(f"unknown role {role!r} in a boot document")
