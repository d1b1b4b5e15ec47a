"""A Route and the replicas that it sends calls to, over real sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.client import Client
from svcd_ipc.errors import (
    ReplicaLost,
    ServiceUnavailable,
)
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from svcd.worker.route import Route
    from svcd_ipc.calls import IncomingCall
    from svcd_ipc.channel import Channel


LIMIT = 20.0


class FakeReplica:
    """Serves on a socket of its own: `who` at once, `hold` until `release`, `items` as a stream."""

    def __init__(self, id: str, path: Path, most: int) -> None:  # noqa: A002  (as in the routes message)
        self.id = id
        self.path = path
        self.most = most
        self.running = 0
        self.calls: list[tuple[str, int]] = []
        self.arrived = trio.Event()
        self.release = trio.Event()
        self.scope = trio.CancelScope()
        self.channels: list[Channel] = []

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await serve(
                listen(self.path),
                self._handle,
                identity={"service": "S", "replica": int(self.id[-1])},
                admit=self._admit,
                load=lambda: (self.running, 0),
                on_channel=self.channels.append,
                task_status=task_status,
            )

    def _admit(self, call: IncomingCall) -> bool:
        if self.running >= self.most:
            return False
        self.running += 1
        self.calls.append((call.api, call.attempt))
        return True

    async def _handle(self, call: IncomingCall) -> Any:
        self.arrived.set()
        try:
            match call.api:
                case "who":
                    return self.id
                case "hold":
                    await self.release.wait()
                    return self.id
                case "items":
                    return self._items()
                case "unavailable":
                    raise ServiceUnavailable("what I need is gone")
                case "lost":
                    raise ReplicaLost("further down")
                case _:
                    raise ValueError(call.api)
        finally:
            self.running -= 1

    async def _items(self) -> AsyncIterator[str]:
        self.running += 1
        try:
            while True:
                yield self.id
                await trio.lowlevel.checkpoint()
        finally:
            self.running -= 1
            self.release.set()


class Box:
    def __init__(self, folder: Path, nursery: trio.Nursery, max_queue: int) -> None:
        self.folder = folder
        self.nursery = nursery
        self.client = Client(nursery, {"service": "test"})
        self.route: Route = self.client.route("S", default_timeout=LIMIT, max_queue=max_queue)
        self.replicas: list[FakeReplica] = []

    async def add(self, most: int = 100) -> FakeReplica:
        number = len(self.replicas)
        replica = FakeReplica(f"S/{number}", self.folder / f"{number}.sock", most)
        await self.nursery.start(replica.run)
        self.replicas.append(replica)
        return replica

    def tell(self, *replicas: FakeReplica, state: str = "ready", reason: str | None = None) -> None:
        told = {"state": state, "reason": reason, "replicas": [[r.id, str(r.path)] for r in replicas]}
        self.client.update({"S": told})


@asynccontextmanager
async def open_box(folder: Path, max_queue: int = 100) -> AsyncIterator[Box]:
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            yield Box(folder, nursery, max_queue)
            nursery.cancel_scope.cancel()


class Answers:
    """Calls that run in the background, and what came of them in the order in which it came."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.got: list[Any] = []
        self.more = trio.Event()

    def ask(self, label: Any, route: Route, api: str, **options: Any) -> None:
        self._nursery.start_soon(self._ask, label, route, api, options)

    async def _ask(self, label: Any, route: Route, api: str, options: dict[str, Any]) -> None:
        try:
            self.got.append((label, await route.call(api, {}, **options)))
        except Exception as error:  # noqa: BLE001  (kept for the test to look at)
            self.got.append((label, error))
        self.more.set()

    async def until(self, count: int) -> list[Any]:
        while len(self.got) < count:
            self.more = trio.Event()
            await self.more.wait()
        return self.got


async def until(there: Callable[[], bool]) -> None:
    """Let other tasks run until something is so."""
    while not there():
        await trio.lowlevel.checkpoint()
