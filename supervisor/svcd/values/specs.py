"""Specs: what the user wants, after every layer of configuration has been merged.

All sizes are bytes, all times seconds, all CPU shares cores. A spec is plain data: it can be turned to JSON with
`dataclasses.asdict`, compared with `==`, and sent over the link.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svcd.values.tasks import TaskSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from svcd.values.commands import Command

INGRESS = "ingress"
"""The reserved service name of the process that speaks HTTP; user services may not take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one replica needs."""

    gpu: int = 0
    """Whole GPUs."""
    gpu_type: str | None = None
    """The kind of GPU, by the words of NVML's name for it; None takes any."""
    cpu: float | None = None
    """Cores; None means no share is asked for."""
    memory: int | None = None
    """Bytes of main memory; None means no share is asked for."""


UNLIMITED = -1
"""A resource limit that limits nothing; RLIM_INFINITY of the `resource` module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What the kernel is told of a process before it runs."""

    cwd: str = ""
    """Absolute path of its working directory; "" is the app's root."""
    umask: int = 0o022
    nice: int = 0
    rlimits: Mapping[str, int] = field(default_factory=dict)
    """Soft and hard limit by the name that the kernel has for it, in lower case: `nofile`, `as`, `core`."""
    user: str = ""
    """Name or number; "" is the daemon's own."""
    group: str = ""
    """Name or number; "" is the user's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How calls are admitted to one replica."""

    timeout: float = 60.0
    """Deadline of a call that brings none, in seconds from when it is made."""
    concurrency: int | None = None
    """Scaling target: calls in flight per replica; None means max_concurrency."""
    max_concurrency: int = 64
    """The most calls that run at once inside one replica; beyond it the replica answers busy."""
    max_queue: int = 1024
    """The most calls one caller process keeps waiting for this service; beyond it a call raises Overloaded."""


def default_concurrency(max_batch_size: int) -> int:
    """Return the `max_concurrency` of a service that says none: room for the largest batch and the one that gathers."""
    return max(Traffic().max_concurrency, 2 * max_batch_size)


MOST_REPLICAS = 1000
"""Of one service. One machine runs no more processes to any use, and a slip of the finger is no order for a million."""
MOST_THREADS = 1000
"""Of one replica, which starts them all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many replicas there may be."""

    min_replicas: int = 1
    max_replicas: int = 1
    down_after: float = 60.0
    """Seconds without need before a replica is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each phase of a replica's life may take, in seconds."""

    start: float = 120.0
    """From exec to ready."""
    drain: float = 30.0
    """For calls in flight to finish once the replica takes no new ones."""
    stop: float = 5.0
    """From SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How one thing is watched at a replica that runs."""

    period: float = 1.0
    """Seconds from one look to the next."""
    timeout: float = 2.0
    """Seconds that a sign of life, or an answer, may take."""
    threshold: int = 3
    """Failing looks in a row that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSpec:
    """One api of a service, as its class declares it."""

    name: str
    is_async: bool = False
    is_stream: bool = False
    idempotent: bool = False
    max_batch_size: int = 0
    """The most rows of a batch; 0 for an api that is not batchable."""
    is_task: bool = False
    """Whether it can be submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencySpec:
    """A named edge: attribute `name` of the caller calls `service`."""

    name: str
    service: str
    timeout: float | None = None
    retries: int = 0
    optional: bool = False
    fallback: str | None = None
    """Service with the same apis, called when `service` cannot answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service of the app with its effective configuration."""

    name: str
    target: str
    """`module:Class`, importable with the app's root first on the path."""
    python: str
    """Absolute path of the interpreter its replicas run under."""
    version: str = ""
    resources: Resources = field(default_factory=Resources)
    traffic: Traffic = field(default_factory=Traffic)
    scaling: Scaling = field(default_factory=Scaling)
    limits: Limits = field(default_factory=Limits)
    liveness: Probe = field(default_factory=Probe)
    readiness: Probe = field(default_factory=Probe)
    threads: int = 1
    """Threads that run its `def` apis."""
    async_backend: str = "trio"
    """What runs its `async def` code: trio or asyncio."""
    process: Process = field(default_factory=Process)
    envs: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    """The service's own variables; None takes the variable away, the allow-listed one of the host included."""
    secret_envs: tuple[str, ...] = ()
    """The names of those in `envs` whose values are not to be shown."""
    apis: tuple[ApiSpec, ...] = ()
    dependencies: tuple[DependencySpec, ...] = ()
    after: tuple[str, ...] = ()
    """Services that have to be ready, and oneshots that have to be done, before this one starts."""
    command: Command | None = None
    """What is run, where the service is a program and no class; then `target` is empty."""
    members: tuple[ServiceSpec, ...] = ()
    """The services that share a process, where this stands for all of them (see `policy.groups`); else none."""

    @property
    def all(self) -> tuple[ServiceSpec, ...]:
        """Every service that a replica runs."""
        return self.members or (self,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which pages of other origins may read the answers (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

    origins: tuple[str, ...] = ()
    """Such as `https://app.example.com`; `*` is any."""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    headers: tuple[str, ...] = ("*",)
    """Request headers that a page may set; `*` is whichever it asks for."""
    expose: tuple[str, ...] = ("retry-after", "traceparent")
    """Response headers that a page may read, beside those it always may."""
    credentials: bool = False
    max_age: float = 600.0
    """Seconds for which a browser may remember the answer to a preflight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one client may take of the ingress; times in seconds."""

    max_body: int = 32 * 1024 * 1024
    """Bytes; a larger request body is answered 413."""
    max_header: int = 16 * 1024
    """Bytes of a request's line and headers; 431."""
    max_connections: int = 1000
    """At one time; one more takes the place of one that is idle, else it is answered 503."""
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its headers; 408."""
    body_timeout: float = 30.0
    """Between two pieces of a request body; 408."""
    idle_timeout: float = 75.0
    """That a connection is kept without a request; longer than the 60 s after which most proxies give theirs up."""
    total_timeout: float | None = None
    """From the first byte of a request body to the last of the answer; None is the entry's timeout and 5 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Where the ingress listens and what it accepts."""

    host: str = "127.0.0.1"
    port: int = 3000
    """0 lets the kernel choose; `svcd ps` and the ready line show the port that was bound."""
    replicas: int = 1
    """Processes that accept connections from the one listening socket."""
    limits: HttpLimits = field(default_factory=HttpLimits)
    cors: Cors = field(default_factory=Cors)


@dataclass(frozen=True, slots=True)
class Logs:
    """How much the log of each process keeps."""

    size: int = 10 * 1024 * 1024
    """Bytes at which a file is rotated; five are kept."""
    age: float = 7 * 24 * 60 * 60.0
    """Seconds since its first line at which it is rotated."""
    burst: int = 16 * 1024 * 1024
    """Bytes that one process may print in ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """The entry service and all it depends on."""

    name: str
    root: Path
    """The folder of the first TOML file; modules and relative paths are looked up from here."""
    entry: str
    http: Http = field(default_factory=Http)
    orphan_grace: float = 0.0
    """Seconds for which everything goes on without its daemon; 0: it ends with it."""
    tasks: TaskSettings = field(default_factory=TaskSettings)
    logs: Logs = field(default_factory=Logs)
    start_parallelism: int | None = None
    """How many replicas may initialise at the same time; None is any number."""
    services: Mapping[str, ServiceSpec] = field(default_factory=dict)
    spin: float = 0.0
    """Seconds for which a process looks for an answer before it sleeps."""
    arena: int = 1 << 30
    """Bytes of shared memory in which one process may show arrays to others; 0: none."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Services that share a process, by name; the first of each group gives the process its name."""
