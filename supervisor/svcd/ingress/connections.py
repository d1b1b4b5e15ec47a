"""Accepts HTTP connections and gives each to hypercorn; what goes wrong in one ends that one alone.

`hypercorn.trio.serve` would run all connections in one nursery, where an exception in any of them ends the server, and
some sequences of bytes that any client can send raise one (a WebSocket handshake that is refused while more bytes
arrive, say). So the accepting is done here, and hypercorn's TCPServer serves the single connection.

No limit has a task of its own: one sweep looks at the clocks of all connections.
"""

from __future__ import annotations

import socket
import sys
from math import inf
from time import time
from typing import TYPE_CHECKING

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from svcd.ingress.connection import Connection, reset, say
from svcd.ingress.exchange import this_connection
from svcd.ingress.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svcd.ingress.asgi import Ingress
    from svcd.ingress.log import Log
    from svcd.values.specs import HttpLimits

STALLED = 30_000
"""Milliseconds that a client may leave what was sent to it unread before the kernel gives the connection up."""
REFUSALS = 64
"""Connections beyond the limit that are told so at one time; more are closed without a word."""
_SWEEPS = 5
"""Sweeps within the shortest time limit."""
_SLOWEST_SWEEP = 5.0


class Connections:
    """All connections of one process.

    Args:
        app: The ASGI application.
        limits: Those on connections and headers.
        log: Gets a line for each connection that ended in an error of the protocol code.
    """

    def __init__(self, app: Ingress, limits: HttpLimits, log: Log) -> None:
        self._ingress = app
        self._app = ASGIWrapper(app)  # type: ignore[arg-type]  # typed with a union of dicts; it calls it with one
        self._limits = limits
        self._log = log
        self._config = _config(limits)
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()
        self._refusing = 0
        self._accepting = trio.CancelScope()
        times = (limits.header_timeout, limits.idle_timeout, limits.total_timeout or inf)
        self._sweep_time = min(_SLOWEST_SWEEP, min(times) / _SWEEPS)

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Connections {len(self)} open>"

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until `stop` was called and the last connection has ended."""
        for listener in listeners:
            if listener.socket.family != socket.AF_UNIX:  # accepted sockets inherit it
                listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED)
        async with trio.open_nursery() as sweeping:
            sweeping.start_soon(self._sweep)
            sweeping.start_soon(self._ingress.watch.run)
            async with trio.open_nursery() as nursery:
                with self._accepting:
                    await trio.serve_listeners(self._serve_one, list(listeners), handler_nursery=nursery)
            # Until here, because what is still being answered after `stop` has its limits too.
            sweeping.cancel_scope.cancel()

    async def stop(self) -> None:
        """Accept no more, close idle connections, and let the others end with the response they are at."""
        self._accepting.cancel()
        await self._context.terminated.set()

    def abandon(self) -> int:
        """Reset what is still open, return how many. Also frees tasks that wait for a client to read."""
        left = list(self._open)
        for connection in left:
            connection.reset()
        return len(left)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= self._limits.max_connections and not await self._make_room():
            await self._turn_away(stream)
            return
        connection = Connection(self._app, self._config, self._context, stream, self._ingress.watch)
        self._open.add(connection)
        this_connection.set(connection)
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - the module's law
            self._log.line(f"connection ended: {_root_cause(error)}")
            connection.reset()
        finally:
            self._open.discard(connection)

    async def _make_room(self) -> bool:
        """Close the connection that has been idle the longest; False when none is."""
        oldest = min(self._open, key=lambda one: one.clock.idle_since)
        if oldest.clock.idle_since == inf:
            return False
        self._open.discard(oldest)
        await oldest.close_idle()
        return True

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        problem = Problem(
            503,
            "connections",
            f"{len(self._open)} connections are open, and none is idle ([app] max_connections)",
            headers=((b"retry-after", b"1"),),
        )
        self._log.problem("a connection", problem, ConnectionError())
        if self._refusing >= REFUSALS:
            reset(stream)
            return
        self._refusing += 1
        try:
            await say(stream, problem)
        finally:
            self._refusing -= 1
            await stream.aclose()

    async def _sweep(self) -> None:
        """Close connections whose time is up, and once stopping all idle ones; others close by themselves then."""
        while True:
            stopping = self._context.terminated.is_set()
            now = trio.current_time()
            async with trio.open_nursery() as nursery:
                for connection in self._open:
                    if connection.clock.head_since + self._limits.header_timeout <= now:
                        nursery.start_soon(connection.refuse, self._slow_header())
                    elif connection.clock.idle_since + (0 if stopping else self._limits.idle_timeout) <= now:
                        nursery.start_soon(connection.close_idle)
            self._ingress.end_overdue(now)
            with trio.move_on_after(self._sweep_time):
                if stopping:
                    await trio.sleep_forever()
                await self._context.terminated.wait()

    def _slow_header(self) -> Problem:
        return Problem(
            408,
            "slow_header",
            f"the request's headers were not complete after {self._limits.header_timeout:g} s ([app] header_timeout)",
        )


class _Config(Config):
    """Hypercorn's, whose headers of every response, its date among them, are made once a second."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, tuple[int, list[tuple[bytes, bytes]]]] = {}

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        now = int(time())
        second, lines = self._made.get(protocol, (0, []))
        if second != now:
            lines = super().response_headers(protocol)
            self._made[protocol] = now, lines
        return lines


def _config(limits: HttpLimits) -> Config:
    config = _Config()
    config.loglevel = "ERROR"
    config.include_server_header = False
    config.keep_alive_max_requests = sys.maxsize
    config.h11_max_incomplete_size = limits.max_header
    config.h2_max_header_list_size = limits.max_header
    return config


def _root_cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
