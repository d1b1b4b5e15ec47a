"""Accepts HTTP connections and gives each to hypercorn; what goes wrong in one ends that one alone.

`hypercorn.trio.serve` would run all connections in one nursery, where an exception in any of them ends the server, and
some sequences of bytes that any client can send raise one (a WebSocket handshake that is refused while more bytes
arrive, say). So the accepting is done here, and hypercorn's TCPServer serves the single connection.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from svcd.ingress.exchange import abort_connection

if TYPE_CHECKING:
    from svcd.ingress.log import Log

KEEP_ALIVE = 75.0
"""Seconds that an idle connection is kept; longer than the 60 s after which most proxies give theirs up."""
STALLED = 30_000
"""Milliseconds that a client may leave what was sent to it unread before the kernel gives the connection up."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


def hypercorn_config() -> Config:
    """Return hypercorn's settings: quiet, and without limits that would close a busy connection."""
    config = Config()
    config.loglevel = "ERROR"
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE
    config.keep_alive_max_requests = sys.maxsize
    return config


class Connections:
    """All connections of one listening socket."""

    def __init__(self, app: Any, log: Log, config: Config | None = None) -> None:
        self._app = ASGIWrapper(app)
        self._config = config or hypercorn_config()
        self._log = log
        self._context = WorkerContext(None)
        self._open: set[trio.SocketStream] = set()
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
                await trio.serve_listeners(self._serve_one, [listener], handler_nursery=nursery)

    async def stop(self) -> None:
        """Accept no more, close idle connections, and let the others end with the response they are at."""
        self._accepting.cancel()
        await self._context.terminated.set()

    def abandon(self) -> int:
        """Reset what is still open, return how many. Also frees tasks that wait for a client to read."""
        left = list(self._open)
        for stream in left:
            _reset(stream)
        return len(left)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        self._open.add(stream)
        abort_connection.set(lambda: _reset(stream))
        try:
            await TCPServer(self._app, self._config, self._context, ConnectionState(LifespanState({})), stream)
        except Exception as error:  # noqa: BLE001 - the module's law
            self._log.line(f"connection ended: {_root_cause(error)}")
            _reset(stream)
        finally:
            self._open.discard(stream)


def _reset(stream: trio.SocketStream) -> None:
    try:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        return  # closed already
    stream.socket.close()


def _root_cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
