"""What an app's call costs above the channel: the parts of `bench/budget.py` that are svcd's and not svcd_ipc's.

The caller's side is a proxy and its route, on a channel that answers at once; the callee's side is a live service
behind its lobby, asked as a channel asks it. Both are svcd's own objects, and nothing is waited for.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import trio
from load import ARGUMENTS, TRACE

from svcd import api, service
from svcd.app.declare import apis_of
from svcd.app.schemas import schemas_of
from svcd.values.boot import Address
from svcd.worker.lobby import Lobby
from svcd.worker.portal import Portal
from svcd.worker.proxy import Edge, Proxy
from svcd.worker.pulse import Pulse
from svcd.worker.route import Route
from svcd.worker.serve import LiveService
from svcd.worker.thread import ServiceThreads
from svcd_ipc.calls import IncomingCall, current
from svcd_ipc.channel import Channel
from svcd_ipc.messages import VERSION, Hello
from svcd_ipc.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NAME = "Echo"
PEER = Hello(VERSION, {"service": "Caller", "replica": 0})


@service
class Echo:
    """The callee of bench/contenders/app_services.py, as far as it is needed here."""

    @api
    async def small(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments."""
        return {"text": text, "number": number}


class Prompt(Channel):
    """A channel whose calls are answered before they are sent: what is left is what lies above it."""

    async def call(self, _api: str, args: Any, **_: Any) -> Any:  # type: ignore[override]  # nobody reads the options
        """Return the arguments."""
        return args


def incoming() -> IncomingCall:
    """Return a call as a channel makes it: with a deadline, and a trace, and so timed."""
    now = time.monotonic()
    return IncomingCall("small", dict(ARGUMENTS), now + 60, TRACE, 0, PEER, timing=Timing(now))


def result_of(running: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        running.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("it had to wait")


class Sides:
    """A caller and a callee that have nothing between them."""

    def __init__(self, nursery: trio.Nursery, pulse: str) -> None:
        portal = Portal(nursery)
        self.route = Route(NAME, nursery=nursery, identity={}, default_timeout=60, max_queue=1024, clock=time.monotonic)
        self.route.update("ready", None, {f"{NAME}/0": Address("", "")})
        self._sockets = socket.socketpair()
        (replica,) = self.route.replicas.values()
        replica.channel = Prompt(self._sockets[0], identity={})
        edge = Edge("self.echo", self.route, portal, schemas=schemas_of(Echo, NAME))
        told = {name: {"is_async": True, "is_stream": False, "idempotent": False} for name in apis_of(Echo)}
        self.echo: Any = Proxy(edge, told)
        self.live = LiveService(NAME, ServiceThreads(NAME, portal), max_concurrency=1024)
        self.live.attach(Echo())
        self.live.pulse = Pulse(pulse)
        self.lobby = Lobby(self.live)

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()

    def steps(self) -> dict[str, Callable[[], Any]]:
        """Return what is measured, by name; each step is a whole call of its side."""
        return {
            "caller: proxy, route, replica, end": self._ask,
            "callee: admission, validation, check, load": self._answer,
        }

    def _ask(self) -> Any:
        return result_of(self.echo.small(**ARGUMENTS))

    def _answer(self) -> Any:
        lobby, call = self.lobby, self._call
        lobby.admit(call)
        running = lobby.begin(call)
        assert running is not None
        value = lobby.succeed(call, result_of(running))
        self.live.load()
        return value

    def least(self, rounds: int) -> dict[str, float]:
        """Return the least seconds of each step."""
        current.set(incoming())
        found: dict[str, float] = {}
        for name, step in self.steps().items():
            for _ in range(rounds):
                self._call = incoming()
                began = time.perf_counter()
                step()
                took = time.perf_counter() - began
                found[name] = min(took, found.get(name, took))
        return found


async def least(rounds: int, pulse: str) -> dict[str, float]:
    """Return the least seconds of a call above the channel, by side."""
    async with trio.open_nursery() as nursery:
        sides = Sides(nursery, pulse)
        try:
            return sides.least(rounds)
        finally:
            sides.close()
