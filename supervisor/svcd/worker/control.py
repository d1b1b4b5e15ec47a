"""A worker's control channel: what it tells the daemon, and what the daemon asks of it."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from svcd_ipc.client import connect
from svcd_ipc.errors import UnknownApi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

    from svcd.values.boot import Identity
    from svcd_ipc.channel import Channel, IncomingCall


class Control:
    """Both ends' words, see docs/internals.md.

    Args:
        identity: Who this worker is.
        role: `replica` or `ingress`.
        routes: Takes the daemon's `routes`.
        health: Answers `health`.
        drain: Returns when no call is in flight any more.
    """

    def __init__(
        self,
        identity: Identity,
        role: str,
        *,
        routes: Callable[[dict[str, Any]], None],
        health: Callable[[], dict[str, Any]],
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self._hello = {"role": role, **asdict(identity)}
        self._routes = routes
        self._health = health
        self._drain = drain
        self._channel: Channel | None = None

    async def connect(self, path: str, nursery: trio.Nursery) -> None:
        """Connect to the daemon. Raises OSError or ProtocolError when it does not answer or refuses."""
        self._channel = await connect(path, nursery=nursery, identity=self._hello, handler=self._handle)

    async def imported(self) -> None:
        """Say that user code is imported; returns when the dependencies have been ready."""
        await self._call("imported", {})

    async def ready(self) -> None:
        """Say that calls can come."""
        await self._call("ready", {})

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
        """Return when the daemon is gone."""
        if self._channel is not None:
            await self._channel.closed.wait()

    async def _call(self, api: str, args: dict[str, Any]) -> None:
        if self._channel is None:
            raise RuntimeError("the control channel is not connected")
        await self._channel.call(api, args)

    async def _handle(self, call: IncomingCall) -> Any:
        match call.api:
            case "routes":
                self._routes(call.args["services"])
            case "health":
                return self._health()
            case "drain":
                await self._drain()
            case "environment":
                # As bytes: a variable need not be text.
                return [list(pair) for pair in os.environb.items()]
            case _:
                raise UnknownApi(f"a worker has no api {call.api!r} on its control channel")
        return None
