"""A worker's control channel: what it tells the daemon, and what the daemon asks of it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.kind import KIND
from svcd_ipc.client import connect
from svcd_ipc.errors import CallError, LocalProtocolError, ProtocolError, ReplicaLost, ServiceUnavailable, UnknownApi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.values.boot import Identity
    from svcd_ipc.channel import Channel, IncomingCall


PAUSE = 0.05
"""Seconds between two looks for the next daemon."""


class Control:
    """Both ends' words, see docs/internals.md.

    Args:
        identity: Who this worker is.
        role: `replica` or `ingress`.
        routes: Takes the daemon's `routes`.
        health: Answers `health`.
        drain: Returns when no call is in flight any more.
        drop: Cuts all connections from callers, returns how many.
        outlives: Whether to find the next daemon when this one goes; what is said meanwhile waits for it.
    """

    def __init__(
        self,
        identity: Identity,
        role: str,
        *,
        outlives: bool = False,
        routes: Callable[[dict[str, Any]], None],
        health: Callable[[], dict[str, Any]],
        drain: Callable[[], Awaitable[None]],
        drop: Callable[[], int] = int,
    ) -> None:
        self._hello = {"role": role, "core": KIND, **asdict(identity)}
        self._routes = routes
        self._health = health
        self._drain = drain
        self._drop = drop
        self._outlives = outlives
        self._channel: Channel | None = None
        self._found = trio.Event()
        """Set when there is a channel in place of one that was lost."""
        self._is_ready = False
        self.restate: Callable[[], Awaitable[None]] | None = None
        """Says what a new daemon has to hear besides ready."""

    async def connect(self, path: str, nursery: trio.Nursery) -> None:
        """Connect to the daemon. Raises OSError or ProtocolError when it does not answer or refuses."""
        self._path, self._nursery = path, nursery
        try:
            self._channel = await connect(path, nursery=nursery, identity=self._hello, handler=self._handle)
        except ServiceUnavailable as error:
            if not self._outlives or isinstance(error.__cause__, LocalProtocolError):  # it was refused
                raise
            self._channel = await self._next_daemon()
        if self._outlives:
            nursery.start_soon(self._follow, self._channel)

    async def imported(self) -> None:
        """Say that user code is imported; returns when the dependencies have been ready."""
        await self._call("imported", {})

    async def ready(self) -> None:
        """Say that calls can come."""
        await self._call("ready", {})
        self._is_ready = True

    async def failed(self, phase: str, error: str, traceback: str) -> None:
        """Say why this worker is about to exit; `phase` is import, init or startup."""
        await self._call("failed", {"phase": phase, "error": error, "traceback": traceback})

    async def probed(self, service: str, hook: str, trouble: str) -> None:
        """Say what a hook of a service finds wrong; "" for nothing."""
        await self._call("probed", {"service": service, "hook": hook, "trouble": trouble})

    async def demand(self, calls: dict[str, int]) -> None:
        """Say how many calls this process has in flight and waiting, by service."""
        await self._call("demand", {"calls": calls})

    async def until_lost(self) -> None:
        """Return when the daemon is gone, and no other is to be waited for."""
        if self._outlives:
            await trio.sleep_forever()
        elif self._channel is not None:
            await self._channel.closed.wait()

    async def _follow(self, channel: Channel) -> None:
        """Find a daemon after the other."""
        while True:
            await channel.closed.wait()
            channel = self._channel = await self._next_daemon()
            self._found.set()
            self._found = trio.Event()
            self._nursery.start_soon(self._introduce, channel)

    async def _next_daemon(self) -> Channel:
        """Return a channel to the next daemon. The keeper decides for how long to wait: it ends this process."""
        while True:
            with suppress(CallError, ProtocolError, OSError):
                return await connect(self._path, nursery=self._nursery, identity=self._hello, handler=self._handle)
            await trio.sleep(PAUSE)

    async def _introduce(self, channel: Channel) -> None:
        with suppress(CallError):  # it is gone again
            if self._is_ready:
                await channel.call("ready", {})
            if self.restate is not None:
                await self.restate()

    async def _call(self, api: str, args: dict[str, Any]) -> None:
        if self._channel is None:
            raise RuntimeError("the control channel is not connected")
        while True:
            found = self._found
            try:
                await self._channel.call(api, args)
            except (ReplicaLost, ServiceUnavailable) as error:
                if not self._outlives or error.from_peer:
                    raise
            else:
                return
            await found.wait()

    async def _handle(self, call: IncomingCall) -> Any:
        match call.api:
            case "routes":
                self._routes(call.args["services"])
            case "health":
                return self._health()
            case "drain":
                await self._drain()
            case "drop":
                return self._drop()
            case "environment":
                # As bytes: a variable need not be text.
                return [list(pair) for pair in os.environb.items()]
            case _:
                raise UnknownApi(f"a worker has no api {call.api!r} on its control channel")
        return None
