"""One HTTP connection: hypercorn's, with a clock, a limit on read-ahead, and errors that say why.

`TCPServer` is hypercorn's reader and writer of one connection. What is changed here is marked where it is.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.events import Closed, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask
from hypercorn.typing import ConnectionState, LifespanState

from svcd.ingress.exchange import this_connection
from svcd.ingress.http1 import READ_AHEAD, Http1, Pause, PeerGoneError
from svcd.ingress.inbox import Requests
from svcd.ingress.problems import Problem, as_bytes

if TYPE_CHECKING:
    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.config import Config
    from hypercorn.events import Event
    from hypercorn.trio.worker_context import WorkerContext

    from svcd.ingress.exchange import Headers
    from svcd.ingress.watch import Watch

LAST_WORDS = 1.0
"""Seconds for a client to take an answer that ends its connection, and to stop sending."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class Clock(TrioSingleTask):
    """Notes since when a connection is idle, and since when it is at the head of a request.

    Hypercorn's own starts and cancels a task around every request, a third of what a small request costs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.idle_since = trio.current_time()
        """Instant at which the last request ended; infinite while one is under way."""
        self.head_since = inf
        """Instant at which the first byte of a request came whose head is not complete."""

    async def restart(self, task_group: Any, action: Any) -> None:  # noqa: ARG002 - the base's signature
        self.idle_since, self.head_since = trio.current_time(), inf

    async def stop(self) -> None:
        self.idle_since = self.head_since = inf

    def heard(self) -> None:
        """Note that bytes came."""
        if self.idle_since < inf and self.head_since == inf:
            self.head_since = trio.current_time()


class Connection(TCPServer):
    """One connection."""

    idle_task: Clock

    def __init__(
        self, app: ASGIWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream, watch: Watch
    ) -> None:
        # Typed for TLS only, though it takes both kinds of stream.
        super().__init__(app, config, context, ConnectionState(LifespanState({})), cast("Any", stream))
        self.idle_task = Clock()
        self._stream = stream
        self._watch = watch
        self._held: bytes | None = None
        """The first of two pieces that are sent together, b"" until it is there."""
        self._reading = trio.CancelScope()
        """Ends with the connection: its reader may wait for an application that has ended without its whole body."""
        self._requests: Requests
        self._is_at_app = False
        """Whether the task that reads runs an application just now."""
        self._is_over = False
        """Whether nothing is to be read any more."""
        self._is_refused = False
        self._read_over = trio.Event()

    def __repr__(self) -> str:
        return f"<Connection {self._stream.socket!r}>"

    @property
    def clock(self) -> Clock:
        """Since when it is idle."""
        return self.idle_task

    async def _read_data(self) -> None:
        """Read until the client ends the connection. Unlike hypercorn's: the clock, pauses that notice the end, and
        requests that are answered by the task that has read them, see `Requests`.
        """
        # The group that hypercorn has made runs it; only how it hands over messages is another.
        nursery = self._task_group._nursery  # noqa: SLF001 - see above
        assert nursery is not None  # noqa: S101 - it is open
        self._requests = self.protocol.task_group = Requests(nursery, self._pass_on)
        http1 = self.protocol.protocol = Http1(self.protocol, partial(say, self._stream))
        http1.can_read = Pause(self._stream, http1.connection, self._watch, self._requests.stir)
        await self._read(self._reading)

    def _pass_on(self) -> None:
        """Let another task read, if the one that does runs an application, which is about to wait for the client."""
        if self._is_at_app:
            self._is_at_app = False
            self._reading = trio.CancelScope()
            self._task_group.spawn(self._read_on, self._reading)

    async def _read_on(self, scope: trio.CancelScope) -> None:
        this_connection.set(self)  # Whoever has started this may be in the midst of another one's.
        await self._read(scope)

    async def _read(self, scope: trio.CancelScope) -> None:
        """Read until the connection ends, or until another task does."""
        try:
            with scope:
                while not self._is_over and (data := await self._receive()):
                    if self._is_refused:
                        continue
                    if isinstance(self.protocol.protocol, Http1):
                        self.clock.heard()
                    await self.protocol.handle(RawData(data))
                    if (application := self._requests.take_whole()) is not None:
                        self._is_at_app = True
                        await application()
                        if self._reading is not scope:
                            return
                        self._is_at_app = False
        except PeerGoneError:
            pass
        finally:
            if self._reading is scope:
                self._read_over.set()
        await self.protocol.handle(Closed())

    def _end_reading(self) -> None:
        self._is_over = True
        if not self._is_at_app:
            self._reading.cancel()

    async def _receive(self) -> bytes:
        """Return what comes next, nothing at the end.

        The kernel is not asked before it says that there is something: most clients wait for an answer before they
        send the next request.
        """
        stream = self._stream.socket
        while True:
            try:
                await trio.lowlevel.wait_readable(stream)
                return os.read(stream.fileno(), READ_AHEAD)
            except BlockingIOError:
                continue
            except (OSError, ValueError, trio.ClosedResourceError):
                return b""

    @property
    def has_read_all(self) -> bool:
        """Whether all of the request is there that the current task answers."""
        return self._is_at_app

    async def respond(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response and make ready for the next request; False where it has to go piece by piece."""
        protocol = self.protocol.protocol
        return isinstance(protocol, Http1) and await protocol.respond(status, headers, body)

    def join_next(self) -> None:
        """Send the next piece, the head of a response, together with the one after it: one packet, one wake-up."""
        self._held = b""

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            if isinstance(event, Closed):
                self._end_reading()
            return
        data = event.data
        if self._held is not None:
            if not self._held:
                self._held = data
                return
            data, self._held = self._held + data, None
        if data:  # it is empty at the end of a body with a content length
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        """Send at once what the kernel takes, without a turn of the event loop; wait with the rest."""
        if not self.send_lock.locked():
            try:
                data = data[os.write(self._stream.socket.fileno(), data) :]
            except BlockingIOError:
                pass
            except OSError:
                await self.protocol.handle(Closed())
                return
        if data:
            self._requests.stir()
            await super().protocol_send(RawData(data))

    async def close_idle(self) -> None:
        """Close the connection, on which no request is under way. Never raises."""
        await self.clock.stop()
        try:
            await self._initiate_server_close()
        except Exception:  # noqa: BLE001 - a client can bring this about, and it is to end this connection alone
            self.reset()

    async def refuse(self, problem: Problem) -> None:
        """Answer a request that has not begun, and close the connection. Never raises."""
        self._is_refused = True  # what still comes is read and dropped, by the one who reads already
        await self.clock.stop()
        with trio.move_on_after(LAST_WORDS, shield=True):
            if await _send_last(self._stream, problem):
                await self._read_over.wait()
        await self.close_idle()

    def reset(self) -> None:
        """End the connection at once, so that the peer sees it broken."""
        reset(self._stream)
        self._end_reading()

    def is_peer_gone(self) -> bool:
        """Whether the client has closed the connection, or its half; seen also where what it sent is not read yet."""
        poll = select.poll()
        poll.register(self._stream.socket, select.POLLRDHUP)  # and POLLHUP, POLLERR, which go without saying
        return bool(poll.poll(0))


async def say(stream: trio.SocketStream, problem: Problem) -> None:
    """Send a last answer, and read what the client still sends: to close at once would make it lose the answer."""
    with trio.move_on_after(LAST_WORDS, shield=True):
        if await _send_last(stream, problem):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                while await stream.receive_some(READ_AHEAD):
                    pass


async def _send_last(stream: trio.SocketStream, problem: Problem) -> bool:
    """Send an answer and the end of our half; False where the connection takes it no more."""
    try:
        await stream.send_all(as_bytes(problem))
        await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        return False
    return True


def reset(stream: trio.SocketStream) -> None:
    """End a connection at once, so that the peer sees it broken."""
    try:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        return  # closed already
    stream.socket.close()
