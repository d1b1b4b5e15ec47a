"""The connections of a `svcd.AsyncClient`, on trio and asyncio."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

from svcd.client.http11 import BrokenAnswerError, Head, Http11, NotTakenError, Request
from svcd.client.rules import CONNECTIONS, Options
from svcd.client.sockets import READ, is_quiet, reset_when_closed
from svcd.client.sources import AsyncSource, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from socket import socket
    from types import TracebackType
    from typing import Any, Self

    from anyio.abc import ByteStream

    from svcd.client.address import Address

ENDS = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenAnswerError)
"""What a connection's end is raised as."""


class Pool:
    """The connections of one client: those that are idle, and room for more."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Connection] = []
        self._room: anyio.Semaphore | None = None

    async def take(self, deadline: float) -> Connection:
        """Return a connection for one call. Raises TimeoutError, OSError."""
        if self._room is None:
            self._room = anyio.Semaphore(CONNECTIONS)  # here, because it belongs to the loop
        with anyio.fail_after(deadline - time.monotonic()):
            await self._room.acquire()
            try:
                while self._idle:
                    connection = self._idle.pop()
                    if connection.is_fresh():
                        return connection
                    await connection.aclose()
                return Connection(await _connect(self._address))
            except BaseException:
                self._room.release()
                raise

    async def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read whole; close any other, which cancels its call."""
        try:
            if connection.renew():
                self._idle.append(connection)
            else:
                await connection.aclose()
        finally:
            if self._room is not None:
                self._room.release()

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()


class Connection:
    """One connection; every wait is bounded by a deadline of time.monotonic."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._http = Http11()

    async def send(self, request: Request, options: Options, deadline: float, sending: Sending | None) -> Head:
        """Send a call and return the head of its answer; what its source gives is sent meanwhile, and after.

        Raises NotTakenError, TimeoutError, or one of ENDS.
        """
        try:
            with anyio.fail_after(deadline - time.monotonic()):
                for piece in self._http.call(options.address, request, options.all_headers()):
                    await self._stream.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            try:
                return await self._head(deadline)  # an answer to what it had read until then, 413 say
            except ENDS:
                raise NotTakenError(str(error.__cause__ or error)) from error
        if sending is not None and isinstance(request.source, AsyncSource):
            sending.start(self._send_all, request.source)
        else:
            self._http.is_sending = False
        return await self._head(deadline)

    async def chunk(self, deadline: float) -> bytes | None:
        """Return the next piece of the body, None at its end. Raises TimeoutError, or one of ENDS."""
        event = None if self._http.is_over else await self._next(deadline)
        return event if isinstance(event, bytes) else None

    async def rest(self, deadline: float) -> bytes:
        """Return what is left of the body. Raises as `chunk`."""
        pieces = []
        while (piece := await self.chunk(deadline)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def renew(self) -> bool:
        """Whether this connection can carry another call."""
        return self._http.renew(time.monotonic())

    def is_fresh(self) -> bool:
        """Whether the other side still holds it."""
        return self._http.is_kept(time.monotonic()) and is_quiet(self._socket())

    async def aclose(self) -> None:
        with suppress(OSError, anyio.BrokenResourceError):
            if self._http.is_sending:
                reset_when_closed(self._socket())
            await anyio.aclose_forcefully(self._stream)

    def _socket(self) -> socket:
        return self._stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no Django here

    async def _send_all(self, source: AsyncSource) -> None:
        try:
            while (piece := await source.anext()) is not None:
                await self._stream.send(self._http.piece(piece))
            await self._stream.send(self._http.end())
            self._http.is_sending = False
        except SourceError:
            await self.aclose()  # so that who waits for the answer finds the error, and the app a body that is cut off
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # what the other side has said before is for who waits for the answer
        finally:
            with anyio.CancelScope(shield=True):
                await source.aclose()

    async def _head(self, deadline: float) -> Head:
        while not isinstance(event := await self._next(deadline), Head):
            pass
        return event

    async def _next(self, deadline: float) -> Head | bytes | bool:
        while (event := self._http.next_event()) is None:
            with anyio.fail_after(deadline - time.monotonic()):
                try:
                    data = await self._stream.receive(READ)
                except anyio.EndOfStream:
                    data = b""
            self._http.receive(data)
        return event


class Sending:
    """What is sent beside a call, for as long as that lasts. The errors of its `async with` are not made groups."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()

    def start(self, send: Callable[[AsyncSource], Coroutine[Any, Any, None]], source: AsyncSource) -> None:
        """Run it until the end of the call."""
        self._group.start_soon(send, source)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup:
            if error is None:
                raise


async def _connect(address: Address) -> ByteStream:
    if address.socket:
        return await anyio.connect_unix(address.socket)
    if address.is_tls:
        return await anyio.connect_tcp(address.host, address.port, tls=True, tls_standard_compatible=False)
    return await anyio.connect_tcp(address.host, address.port)
