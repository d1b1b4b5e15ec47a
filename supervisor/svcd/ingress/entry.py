"""The entry service as the ingress sees it: its apis, whether it can answer, and calls to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.outgoing import Outgoing
from svcd_ipc.errors import BadResult, Busy, CallError, DeadlineExceeded, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from svcd.worker.outgoing import Inputs
    from svcd.worker.route import Route
    from svcd.worker.route_stream import RouteStream

HTTP_API = "svcd.http"
"""The entry's reserved api that takes a body as it came and gives back one that can be sent as it is."""
ASGI_API = "svcd.asgi"
"""The same for an application mounted on the entry: the request as ASGI's scope and its body."""
SCHEMA_API = "svcd.schema"
CHECK_API = "svcd.check"
"""Takes what `svcd.http` takes, and says whether it holds what the api takes, without running it."""
AGAIN = 0.05
"""Seconds after which another replica, or the next one, is asked to check."""

Apis = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Surface:
    """What the entry has: apis by name, each with doc, schemas and media types, and where applications are mounted."""

    apis: Apis
    mounts: tuple[str, ...] = ()
    """Paths without a slash at the end, the longest first."""

    def mount_of(self, path: str) -> str | None:
        """Return the mount that a path belongs to."""
        return next((mount for mount in self.mounts if path == mount or path.startswith(f"{mount}/")), None)


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the entry can answer."""

    ready: bool
    reason: str
    """Why not; empty when ready."""
    replicas: int


class Entry:
    """Calls the entry service, and remembers what apis it has for as long as its replicas stay the same.

    Deadlines are instants of the route's clock.
    """

    def __init__(self, route: Route) -> None:
        self.is_stopping = False
        """Set when this process is about to end: it is not ready any more, though it answers what it has."""
        self._route = route
        self._surface: Surface | None = None
        self._told_by: set[str] = set()
        self._asking = trio.Lock()

    def __repr__(self) -> str:
        return f"<Entry {self.name} [{len(self._surface.apis) if self._surface is not None else 'unknown'} apis]>"

    @property
    def name(self) -> str:
        """Name of the service."""
        return self._route.service

    @property
    def route(self) -> Route:
        """The way to its replicas."""
        return self._route

    @property
    def timeout(self) -> float:
        """Seconds that a request has unless it ends sooner."""
        return self._route.default_timeout

    def status(self) -> Status:
        """Return whether a request would be answered now."""
        replicas, route = len(self._route.replicas), self._route
        if self.is_stopping:
            return Status(ready=False, reason="the ingress is stopping", replicas=replicas)
        if replicas:
            return Status(ready=True, reason="", replicas=replicas)
        why = f": {route.reason}" if route.reason else ""
        return Status(ready=False, reason=f"{self.name} is {route.state}{why}", replicas=0)

    def deadline(self) -> float:
        """Return when a request that begins now is over."""
        return self._route.clock() + self._route.default_timeout

    @property
    def known(self) -> Surface | None:
        """What the entry has, as far as it has said so."""
        return self._surface

    async def surface(self, deadline: float) -> Surface:
        """Return what the entry has.

        Asked once; until then requests wait in the same line as calls, under the same limits.
        """
        if self._surface is None:
            self._route.release(await self._route.acquire(SCHEMA_API, deadline))
            with trio.move_on_after(max(0.0, deadline - self._route.clock())):
                await self.learn()
            if self._surface is None:
                raise DeadlineExceeded(f"{self.name} did not say in time what apis it has")
        return self._surface

    async def learn(self) -> None:
        """Ask what there is, unless the same replicas have answered before. Raises CallError."""
        async with self._asking:
            replicas = self._paths()
            if self._surface is None or not replicas <= self._told_by:
                answer = await self._route.call(SCHEMA_API, {})
                if not isinstance(answer, dict) or not isinstance(answer.get("apis"), dict):
                    raise BadResult(f"{self.name} answered {SCHEMA_API} with a {type(answer).__name__} without apis")
                mounts = tuple(sorted(answer.get("mounts", ()), key=len, reverse=True))
                self._surface, self._told_by = Surface(answer["apis"], mounts), replicas

    async def learn_news(self) -> None:
        """Ask again where replicas have changed; what was known stays when that fails."""
        try:
            if self._paths():
                await self.learn()
        except CallError:
            return  # the next request asks, or the next change

    async def call(
        self,
        args: Mapping[str, Any],
        *,
        deadline: float,
        trace: str,
        retries: int = 0,
        body: AsyncIterator[bytes] | None = None,
    ) -> Any:
        """Call `svcd.http` of an api that answers as a whole: `[content type, body]`. retries: as in `Route.call`.

        `body` is one that goes there in pieces, as they are asked for.
        """
        return await self._route.call(
            HTTP_API, dict(args), deadline=deadline, trace=trace, retries=retries, inputs=_inputs(body)
        )

    async def check(self, args: Mapping[str, Any], *, deadline: float, trace: str) -> None:
        """Call `svcd.check`. Raises InvalidArgument, UnknownApi, CallError.

        It takes no place at the replica, so that busy ones are asked as well, and does no harm when it is asked twice.
        """
        route = self._route
        while True:
            replica = min(route.replicas.values(), key=lambda one: one.in_flight, default=None)
            if replica is None:
                route.release(await route.acquire(CHECK_API, deadline))
                continue
            try:
                channel = await route.open(replica, CHECK_API, deadline)
                await channel.call(CHECK_API, dict(args), deadline=deadline, trace=trace)
            except (Busy, ReplicaLost, ServiceUnavailable) as error:
                if error.from_peer and not isinstance(error, Busy):
                    raise
                if route.clock() + AGAIN >= deadline:
                    raise DeadlineExceeded(f"{self.name}: no replica could look at the input in time") from error
                await trio.sleep(AGAIN)
            else:
                return

    def stream(
        self, args: Mapping[str, Any], *, deadline: float, trace: str, body: AsyncIterator[bytes] | None = None
    ) -> RouteStream:
        """Call `svcd.http` of a stream api: the content type, then chunks."""
        return self._route.stream(HTTP_API, dict(args), deadline=deadline, trace=trace, inputs=_inputs(body))

    def relay(self, args: Mapping[str, Any], *, deadline: float, trace: str) -> RouteStream:
        """Call `svcd.asgi`: `{status, headers, body}`, then chunks."""
        return self._route.stream(ASGI_API, dict(args), deadline=deadline, trace=trace)

    def _paths(self) -> set[str]:
        return {replica.path for replica in self._route.replicas.values()}


def _inputs(body: AsyncIterator[bytes] | None) -> Inputs | None:
    return None if body is None else {"body": Outgoing(body)}
