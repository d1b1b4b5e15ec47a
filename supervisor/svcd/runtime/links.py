"""Control channels: who is on the other end, what it says, and what it is told about its dependencies."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Protocol

import trio

from svcd.policy.lifecycle import Happening
from svcd_ipc.errors import CallError, UnknownApi
from svcd_ipc.server import serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from svcd.runtime.replica import Replica
    from svcd.values.boot import Identity
    from svcd_ipc.channel import Channel, Hello, IncomingCall

ALIVE = "__is_alive__"
"""The hook whose trouble is a reason to replace a process; see worker/probes.py."""
SETTLE_LIMIT = 0.5
"""Seconds for callers to learn that a replica takes no more calls, before it is asked to finish those it has."""
PUSH_LIMIT = 5.0
"""Seconds for a worker to take a push of routes; one that does not is stuck, and liveness is another's business."""


class Routing(Protocol):
    """What links need to know of the app."""

    def routes(self, caller: str) -> dict[str, Any]:
        """Routes of everything the service `caller` depends on, by service name."""

    def demand(self, process_id: str, calls: dict[str, int]) -> None:
        """Take how many calls a process has in flight and waiting, by service; none once it has ended."""

    async def dependencies_ready(self, replica: Replica) -> None:
        """Return once everything the replica needs has been ready."""


class Links:
    """The daemon's end of every control channel."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._expected: dict[str, tuple[Identity, Replica]] = {}
        self._dirty: dict[Channel, trio.Event] = {}
        self._settled: dict[Channel, trio.Event] = {}
        """Set while a worker has been told all that there is to tell."""
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        """How many are connected of how many expected."""
        return f"<Links {len(self._dirty)} of {len(self._expected)} connected>"

    async def run(self, listener: socket.socket) -> None:
        """Accept and serve control channels until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await serve(
                listener, self._handle, identity={"role": "daemon"}, welcome=self._welcome, on_channel=self._joined
            )

    def expect(self, identity: Identity, replica: Replica) -> None:
        """Let the process with this identity in."""
        self._expected[replica.process_id] = (identity, replica)

    def nonce_of(self, process_id: str) -> str:
        """What the process is known by; "" for one that is not expected."""
        identity, _ = self._expected.get(process_id, (None, None))
        return identity.nonce if identity else ""

    def forget(self, process_id: str) -> None:
        """Let it in no longer."""
        self._expected.pop(process_id, None)

    def routes_changed(self) -> None:
        """Push to every worker whose routes are not what it was told last."""
        for channel, dirty in self._dirty.items():
            dirty.set()
            if self._settled[channel].is_set():
                self._settled[channel] = trio.Event()

    def drain(self, replica: Replica) -> None:
        """Ask a worker to finish; DRAINED is posted when it has, at once when it cannot be asked."""
        if replica.channel is None or self._nursery is None:
            replica.post(Happening.DRAINED)
            return
        self._nursery.start_soon(self._drain, replica, replica.channel)

    def _welcome(self, hello: Hello) -> None:
        self._known(hello)

    def _known(self, hello: Hello) -> Replica:
        said = hello.identity
        process_id = f"{said.get('service')}/{said.get('replica')}#{said.get('generation')}"
        identity, replica = self._expected.get(process_id, (None, None))
        if identity is None or replica is None or not hmac.compare_digest(identity.nonce, str(said.get("nonce"))):
            raise ValueError(f"no process {process_id} with this nonce belongs to this app")
        return replica

    def _joined(self, channel: Channel) -> None:
        if channel.peer is None or self._nursery is None:
            return
        replica = self._known(channel.peer)
        replica.channel = channel
        if replica.pid is None:  # it was quicker than the word of the keeper
            replica.post(Happening.SPAWNED)
        replica.attempt.joined.set()
        self._dirty[channel] = trio.Event()
        self._dirty[channel].set()
        self._settled[channel] = trio.Event()
        self._nursery.start_soon(self._attend, replica, channel)

    async def _attend(self, replica: Replica, channel: Channel) -> None:
        process_id = replica.process_id
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._push, replica, channel)
            await channel.closed.wait()
            nursery.cancel_scope.cancel()
        self._settled.pop(channel).set()
        del self._dirty[channel]
        self._routing.demand(process_id, {})
        if replica.channel is channel:
            replica.channel = None
            replica.post(Happening.LOST, "its control channel ended")

    async def _push(self, replica: Replica, channel: Channel) -> None:
        told: dict[str, Any] | None = None
        while True:
            await self._dirty[channel].wait()
            self._dirty[channel] = trio.Event()
            routes = self._routing.routes(replica.spec.name)
            if routes != told:
                told = routes
                await _quietly(channel, "routes", {"services": routes}, PUSH_LIMIT)
            if not self._dirty[channel].is_set():
                self._settled[channel].set()

    async def _drain(self, replica: Replica, channel: Channel) -> None:
        # Callers go elsewhere first: a call that is on its way when the process ends would count as lost.
        with trio.move_on_after(SETTLE_LIMIT):
            for settled in list(self._settled.values()):
                await settled.wait()
        await _quietly(channel, "drain", {}, replica.spec.limits.drain)
        if replica.channel is channel:
            replica.post(Happening.DRAINED)

    async def _handle(self, call: IncomingCall) -> None:
        replica = self._known(call.peer)
        says: dict[str, Callable[[Replica, dict[str, Any]], Awaitable[None]]] = {
            "demand": self._demand,
            "imported": self._imported,
            "ready": self._ready,
            "failed": self._failed,
            "probed": self._probed,
        }
        if call.api not in says:
            raise UnknownApi(f"the daemon has no api {call.api!r}")
        await says[call.api](replica, call.args)

    async def _demand(self, replica: Replica, args: dict[str, Any]) -> None:
        self._routing.demand(replica.process_id, args["calls"])

    async def _imported(self, replica: Replica, _args: dict[str, Any]) -> None:
        await self._routing.dependencies_ready(replica)
        if replica.channel is not None:  # what it does next may read the URL of what has just become ready
            routes = self._routing.routes(replica.spec.name)
            await _quietly(replica.channel, "routes", {"services": routes}, PUSH_LIMIT)

    async def _ready(self, replica: Replica, _args: dict[str, Any]) -> None:
        replica.post(Happening.READY)

    async def _probed(self, replica: Replica, args: dict[str, Any]) -> None:
        service, hook, trouble = args["service"], args["hook"], args["trouble"]
        if hook == ALIVE:
            replica.attempt.fatal = trouble
        whose = f"{service}: " if trouble and service != replica.spec.name else ""
        replica.ail(f"{service}.{hook}", whose + trouble)

    async def _failed(self, replica: Replica, args: dict[str, Any]) -> None:
        replica.attempt.failure = f"{args['phase']} failed: {args['error']}"


async def _quietly(channel: Channel, api: str, args: dict[str, Any], limit: float) -> None:
    """Call a worker that may be dying: its exit is heard from the keeper, so an error here is no news."""
    with trio.move_on_after(limit):
        try:
            await channel.call(api, args)
        except CallError:
            return
