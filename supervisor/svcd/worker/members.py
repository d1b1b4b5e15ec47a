"""The services of one process: each with its threads, its loop and its slots, callable by the others without a socket.

Law: they are started in the order in which they were added, each after those it calls, and closed in reverse; who is
being closed can still call those that came before it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.local_caller import LocalCaller
from svcd.worker.portal import Portal
from svcd.worker.serve import LiveService
from svcd.worker.thread import ServiceThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svcd.app.schemas import ApiSchema
    from svcd.worker.aio import AsyncioSide


@dataclass(frozen=True, slots=True)
class Member:
    """One service, and how the others call it."""

    live: LiveService
    caller: LocalCaller

    @property
    def schemas(self) -> dict[str, ApiSchema]:
        """What is known of its apis."""
        return {name: api.schema for name, api in self.live.apis.items()}

    @property
    def apis(self) -> dict[str, dict[str, Any]]:
        """Its apis, as proxies are told of them."""
        return {name: asdict(api.schema.declaration) for name, api in self.live.apis.items()}


class Members:
    """All services of this process.

    Args:
        nursery: Where their tasks run.
        clock: That of deadlines; must work on any thread.
    """

    def __init__(self, nursery: trio.Nursery, clock: Callable[[], float]) -> None:
        self.portal = Portal(nursery)
        self._clock = clock
        self._all: list[Member] = []
        self._started: list[LiveService] = []

    def __repr__(self) -> str:
        return f"<Members {' '.join(repr(member.live) for member in self)}>"

    def __iter__(self) -> Iterator[Member]:
        return iter(self._all)

    def get(self, name: str) -> Member | None:
        """Return a service of this process, None when it is in none or in another."""
        return next((member for member in self._all if member.live.name == name), None)

    def add(
        self, name: str, *, timeout: float, max_concurrency: int, max_queue: int, threads: int, async_backend: str
    ) -> Member:
        """Make a service that has no instance yet, and start its threads. Raises ValueError for an unknown backend."""
        side = self._new_side(name, async_backend)
        service_threads = ServiceThreads(name, self.portal, threads)
        service_threads.start()
        live = LiveService(name, service_threads, max_concurrency=max_concurrency, side=side)
        caller = LocalCaller(
            live,
            nursery=self.portal.nursery,
            default_timeout=timeout,
            max_queue=max_queue,
            clock=self._clock,
        )
        self._all.append(Member(live, caller))
        return self._all[-1]

    def _new_side(self, name: str, backend: str) -> AsyncioSide | None:
        if backend == "trio":
            return None
        if backend != "asyncio":
            raise ValueError(f"{name}: async_backend = {backend!r}: it is trio or asyncio")
        from svcd.worker.aio import AsyncioSide  # noqa: PLC0415  (where asyncio is wanted)

        side = AsyncioSide(name, self.portal)
        side.start()
        return side

    async def open(self, member: Member) -> None:
        """Run the startup hooks of a service whose instance is made. Raises what a hook raises."""
        await member.live.run_hooks("startup")
        self._started.append(member.live)

    async def close(self, limit: float | None = None) -> list[Exception]:
        """Run the shutdown hooks of what was started, last first, and return what they raised.

        limit: seconds for those of each service, which nothing but that cuts short then; None leaves it to the scopes
        around.
        """
        errors: list[Exception] = []
        for service in reversed(self._started):
            try:
                with trio.CancelScope(shield=limit is not None) as scope:
                    scope.deadline = inf if limit is None else trio.current_time() + limit
                    await service.run_hooks("shutdown")
            except Exception as error:  # noqa: BLE001  (it is the caller's to tell, once all have been closed)
                errors.append(error)
        return errors

    async def stop(self) -> None:
        """End loops and threads; a thread that is busy ends when it is free."""
        for member in self:
            if member.live.side is not None:
                await member.live.side.stop()
        for member in self:
            member.live.threads.stop()

    @property
    def is_busy(self) -> bool:
        """Whether user code still runs on a thread."""
        return any(
            member.live.threads.is_busy or (member.live.side is not None and member.live.side.is_alive)
            for member in self
        )

    async def drain(self) -> None:
        """Admit nothing more from outside; return when no call runs. Those who call others of this process go first."""
        for member in reversed(self._all):
            await member.live.drain()

    def health(self) -> dict[str, Any]:
        """Return the figures of all together, and where there are several, each one's own in `services`."""
        own = {member.live.name: member.live.health() for member in self}
        total: dict[str, Any] = {
            figure: sum(each[figure] for each in own.values()) for figure in ("in_flight", "queued", "threads_stuck")
        }
        return total | ({"services": own} if len(own) > 1 else {})
