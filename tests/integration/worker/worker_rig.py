"""Real replica processes with a daemon played by the test: it lets them in, answers, and pushes routes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.declare import apis_of
from svcd.app.graph import build
from svcd.values.boot import Identity, ReplicaBoot, ServiceBoot, dump
from svcd_ipc.client import connect
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable

    from svcd_ipc.channel import Channel, IncomingCall

BOOT = Path(__file__).resolve().parents[3] / "supervisor" / "svcd" / "worker" / "boot.py"
HERE = Path(__file__).resolve().parent
LIMIT = 30.0
"""Seconds after which a test gives up waiting; a busy machine starts a replica in a few."""


@dataclass(eq=False)
class Process:
    """One replica."""

    boot: ReplicaBoot
    popen: subprocess.Popen[bytes]
    log: Path
    control: Channel | None = None
    ready: trio.Event = field(default_factory=trio.Event)
    joined: trio.Event = field(default_factory=trio.Event)
    failure: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        return f"{self.boot.identity.service}/{self.boot.identity.replica}"

    async def wait(self) -> int:
        """Return the exit status."""
        pidfd = os.pidfd_open(self.popen.pid)
        try:
            with trio.fail_after(LIMIT):
                await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        return self.popen.wait()

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)


class Rig:
    """Starts replicas in `folder` and routes their calls."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self.nursery = nursery
        self.processes: list[Process] = []
        self.states: dict[str, tuple[str, str | None]] = {}
        """Told of services in place of what is really there."""

    async def start(self) -> None:
        """Listen for control channels."""
        self.link = trio.CancelScope()
        await self.nursery.start(self._serve)

    def spawn(
        self, target: str, *, root: Path = HERE, python: tuple[str, ...] = (sys.executable,), **options: Any
    ) -> Process:
        """Start one replica of `module:Class`; its dependencies are read from its declarations when root is here."""
        index = len(self.processes)
        identity = Identity(app="t", service=target.partition(":")[2], replica=index, generation=1, nonce="secret")
        settings = {"timeout": 30.0, "max_concurrency": 64, "threads": 1, "dependencies": {}} | options
        socket = str(self.folder / f"{index}.sock")
        boot = ReplicaBoot(
            identity=identity,
            root=str(root),
            link=str(self.folder / "link.sock"),
            services=[ServiceBoot(name=identity.service, target=target, socket=socket, **settings)],
        )
        log = self.folder / f"{index}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen([*python, str(BOOT)], stdin=subprocess.PIPE, stdout=out, stderr=out)
        process = Process(boot, popen, log)
        self.processes.append(process)
        with popen.stdin as stdin:
            stdin.write(dump(boot))
        return process

    async def up(self, target: str, **options: Any) -> Process:
        """Start a service of this folder with all it depends on, and return its process once all are ready."""
        graph = build([target])
        for node in graph.nodes.values():
            own = options.get(node.name, {})
            process = self.spawn(node.target, dependencies={n: _told(e) for n, e in node.edges.items()}, **own)
            with trio.fail_after(LIMIT):
                await process.ready.wait()
        return self.processes[-1]

    def one(self, service: str) -> Process:
        """Return the last replica of a service."""
        return next(p for p in reversed(self.processes) if p.boot.identity.service == service)

    async def connect(self, process: Process) -> Channel:
        """Return a channel to a replica, as its callers have."""
        return await connect(process.boot.services[0].socket, nursery=self.nursery, identity={"service": "test"})

    async def push(self) -> None:
        """Tell every replica what is there now."""
        for process in self.processes:
            if process.control is not None and process.popen.poll() is None:
                with suppress(Exception):
                    await process.control.call("routes", {"services": self._services()})

    def close(self) -> None:
        """End what still runs, each process by its own handle."""
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait()

    def _services(self) -> dict[str, Any]:
        services: dict[str, Any] = {}
        for process in self.processes:
            name = process.boot.identity.service
            told = services.setdefault(name, {"state": "starting", "reason": None, "replicas": []})
            if process.ready.is_set() and process.popen.poll() is None:
                told["state"] = "ready"
                told["replicas"].append([process.id, process.boot.services[0].socket])
        for name, (state, reason) in self.states.items():
            services[name] = {"state": state, "reason": reason, "replicas": []}
        return services

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.link:
            listener = listen(self.folder / "link.sock")
            await serve(
                listener, self._handle, identity={"role": "daemon"}, on_channel=self._joined, task_status=task_status
            )

    def _process(self, identity: dict[str, Any]) -> Process:
        return next(p for p in self.processes if asdict(p.boot.identity).items() <= identity.items())

    def _joined(self, channel: Channel) -> None:
        process = self._process(channel.peer.identity)
        assert channel.peer.identity["role"] == "replica"
        process.control = channel
        process.joined.set()
        self.nursery.start_soon(self.push)

    async def _handle(self, call: IncomingCall) -> None:
        process = self._process(call.peer.identity)
        if call.api == "ready":
            process.ready.set()
            self.nursery.start_soon(self.push)
        elif call.api == "failed":
            process.failure = call.args


def _told(edge: Any) -> dict[str, Any]:
    return {
        "service": edge.node.name,
        "timeout": edge.dependency.timeout,
        "retries": edge.dependency.retries,
        "max_queue": 100,
        "default_timeout": 30.0,
        "apis": {name: asdict(api) for name, api in apis_of(edge.node.cls).items()},
    }


IDLE = {"in_flight": 0, "queued": 0, "threads_stuck": 0}


async def until(there: Callable[[], Any]) -> None:
    """Return when something is so."""
    with trio.fail_after(LIMIT):
        while not there():  # noqa: ASYNC110  (what is waited for is in another process)
            await trio.sleep(0.01)


async def until_health(process: Process, health: dict[str, int]) -> None:
    """Return when a replica says so of itself."""
    with trio.fail_after(LIMIT):
        while await process.control.call("health", {}) != health:  # noqa: ASYNC110  (as above)
            await trio.sleep(0.01)


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    """Give a rig; whatever happens, none of its processes is left."""
    async with trio.open_nursery() as nursery:
        made = Rig(folder, nursery)
        await made.start()
        try:
            yield made
        finally:
            made.close()
            nursery.cancel_scope.cancel()
