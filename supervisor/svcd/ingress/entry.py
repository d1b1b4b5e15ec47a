"""The entry service as the ingress sees it: its apis, whether it can answer, and calls to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.errors import BadResult, CallError, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.worker.route import Route
    from svcd.worker.route_stream import RouteStream

HTTP_API = "svcd.http"
"""The entry's reserved api that takes a body as it came and gives back one that can be sent as it is."""
SCHEMA_API = "svcd.schema"

Apis = dict[str, dict[str, Any]]


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
        self._apis: Apis | None = None
        self._told_by: set[str] = set()
        self._asking = trio.Lock()

    def __repr__(self) -> str:
        return f"<Entry {self.name} [{len(self._apis) if self._apis is not None else 'unknown'} apis]>"

    @property
    def name(self) -> str:
        """Name of the service."""
        return self._route.service

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

    async def apis(self, deadline: float) -> Apis:
        """Return doc, schemas and `is_stream` of each api by name.

        Asked once; until then requests wait in the same line as calls, under the same limits.
        """
        if self._apis is None:
            self._route.release(await self._route.acquire(SCHEMA_API, deadline))
            with trio.move_on_after(max(0.0, deadline - self._route.clock())):
                await self.learn()
            if self._apis is None:
                raise DeadlineExceeded(f"{self.name} did not say in time what apis it has")
        return self._apis

    async def learn(self) -> None:
        """Ask for the apis, unless the same replicas have answered before. Raises CallError."""
        async with self._asking:
            replicas = self._paths()
            if self._apis is None or not replicas <= self._told_by:
                answer = await self._route.call(SCHEMA_API, {})
                if not isinstance(answer, dict) or not isinstance(answer.get("apis"), dict):
                    raise BadResult(f"{self.name} answered {SCHEMA_API} with a {type(answer).__name__} without apis")
                self._apis, self._told_by = answer["apis"], replicas

    async def learn_news(self) -> None:
        """Ask again where replicas have changed; what was known stays when that fails."""
        try:
            if self._paths():
                await self.learn()
        except CallError:
            return  # the next request asks, or the next change

    async def call(self, args: Mapping[str, Any], *, deadline: float, trace: str) -> Any:
        """Call `svcd.http` of an api that answers as a whole: `[content type, body]`."""
        return await self._route.call(HTTP_API, dict(args), deadline=deadline, trace=trace)

    def stream(self, args: Mapping[str, Any], *, deadline: float, trace: str) -> RouteStream:
        """Call `svcd.http` of a stream api: the content type, then chunks."""
        return self._route.stream(HTTP_API, dict(args), deadline=deadline, trace=trace)

    def _paths(self) -> set[str]:
        return {replica.path for replica in self._route.replicas.values()}
