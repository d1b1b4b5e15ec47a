"""Accepts HTTP connections and gives each to hypercorn; what goes wrong in one ends that one alone.

`hypercorn.trio.serve` would run all connections in one nursery, where an exception in any of them ends the server, and
some sequences of bytes that any client can send raise one (a WebSocket handshake that is refused while more bytes
arrive, say). So the accepting is done here, and hypercorn's TCPServer serves the single connection.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper, TrioSingleTask, WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from svcd.ingress.exchange import abort_connection

if TYPE_CHECKING:
    from hypercorn.events import Event

    from svcd.ingress.log import Log

KEEP_ALIVE = 75.0
"""Seconds that an idle connection is kept; longer than the 60 s after which most proxies give theirs up."""
SWEEP = 5.0
"""Seconds between two looks for idle connections."""
STALLED = 30_000
"""Milliseconds that a client may leave what was sent to it unread before the kernel gives the connection up."""
READ_AHEAD = 64 * 1024
"""Bytes of later requests on a connection that are taken in while one is being answered."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class Connections:
    """All connections of one listening socket.

    Args:
        app: The ASGI application.
        log: Gets a line for each connection that ended in an error of the protocol code.
    """

    def __init__(self, app: Any, log: Log) -> None:
        self._app = ASGIWrapper(app)
        self._log = log
        self._config = _config()
        self._context = WorkerContext(None)
        self._open: set[_Connection] = set()
        self._accepting = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Connections {len(self)} open>"

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until `stop` was called and the last connection has ended."""
        listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED)  # accepted sockets inherit it
        async with trio.open_nursery() as nursery:
            with self._accepting:
                nursery.start_soon(self._sweep)
                await trio.serve_listeners(self._serve_one, [listener], handler_nursery=nursery)

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
        connection = _Connection(self._app, self._config, self._context, stream)
        self._open.add(connection)
        abort_connection.set(connection.reset)
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - the module's law
            self._log.line(f"connection ended: {_root_cause(error)}")
            connection.reset()
        finally:
            self._open.discard(connection)

    async def _sweep(self) -> None:
        """Close connections that have been idle for too long, and all idle ones once stopping; others close by then."""
        stopping = False
        while not stopping:
            with trio.move_on_after(SWEEP):
                await self._context.terminated.wait()
            stopping = self._context.terminated.is_set()
            latest = trio.current_time() - (0 if stopping else KEEP_ALIVE)
            for connection in [one for one in self._open if one.idle_task.since <= latest]:
                await connection.close_idle()


class _IdleClock(TrioSingleTask):
    """Notes since when a connection is idle. Hypercorn's own starts and cancels a task around every request, which is a
    third of what a small request costs."""

    def __init__(self) -> None:
        super().__init__()
        self.since = float("inf")

    async def restart(self, task_group: Any, action: Any) -> None:  # noqa: ARG002 - the base's signature
        self.since = trio.current_time()

    async def stop(self) -> None:
        self.since = float("inf")


class _PeerGoneError(Exception):
    """The client closed its connection while later requests of it were waiting."""


class _Pause(EventWrapper):
    """Where hypercorn waits with the next request of a pipelining client until the one before is answered.

    It does not read meanwhile, and so would not notice that the client is gone; this does.
    """

    def __init__(self, stream: trio.SocketStream, protocol: H11Protocol) -> None:
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._ahead = 0
        self._is_gone = False

    async def wait(self) -> None:
        """Return when the next request may begin. Raises _PeerGoneError."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_ahead, nursery.cancel_scope)
            await super().wait()
            nursery.cancel_scope.cancel()
        if self._is_gone:
            raise _PeerGoneError
        self._ahead = 0

    async def _read_ahead(self, scope: trio.CancelScope) -> None:
        while self._ahead < READ_AHEAD:
            try:
                data = await self._stream.receive_some(READ_AHEAD - self._ahead)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self._is_gone = True
                scope.cancel()
                return
            self._ahead += len(data)
            self._protocol.connection.receive_data(bytes(data))


class _Connection(TCPServer):
    """One connection."""

    idle_task: _IdleClock

    def __init__(self, app: ASGIWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream) -> None:
        # Typed for TLS only, though it takes both kinds of stream.
        super().__init__(app, config, context, ConnectionState(LifespanState({})), cast("Any", stream))
        self.idle_task = _IdleClock()
        self._stream = stream
        self._socket = stream.socket

    async def _read_data(self) -> None:
        if isinstance(self.protocol.protocol, H11Protocol):
            self.protocol.protocol.can_read = _Pause(self._stream, self.protocol.protocol)
        try:
            await super()._read_data()
        except _PeerGoneError:
            await self.protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData) and not event.data:
            return  # the end of a body with a content length
        await super().protocol_send(event)

    async def close_idle(self) -> None:
        """Close the connection, on which no request is under way."""
        await self.idle_task.stop()
        try:
            await self._initiate_server_close()
        except Exception:  # noqa: BLE001 - the module's law
            self.reset()

    def reset(self) -> None:
        """End the connection at once, so that the peer sees it broken."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            return  # closed already
        self._socket.close()


def _config() -> Config:
    config = Config()
    config.loglevel = "ERROR"
    config.include_server_header = False
    config.keep_alive_max_requests = sys.maxsize
    return config


def _root_cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
