"""The connections of a `svcd.Client`; its threads share them."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from svcd.client.http11 import BrokenAnswerError, Head, Http11, NotTakenError, Request
from svcd.client.rules import CONNECTIONS, Options
from svcd.client.sockets import READ, is_quiet, reset_when_closed

if TYPE_CHECKING:
    from svcd.client.address import Address
    from svcd.client.sources import Source


class Pool:
    """The connections of one client: those that are idle, and room for more."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Connection] = []
        self._room = threading.BoundedSemaphore(CONNECTIONS)

    def take(self, deadline: float) -> Connection:
        """Return a connection for one call. Raises TimeoutError, OSError."""
        if not self._room.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        try:
            while self._idle:
                with suppress(IndexError):  # another thread was faster
                    connection = self._idle.pop()
                    if connection.is_fresh():
                        return connection
                    connection.close()
            return Connection(self._address, deadline)
        except BaseException:
            self._room.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read whole; close any other, which cancels its call."""
        try:
            if connection.renew():
                self._idle.append(connection)
            else:
                connection.close()
        finally:
            self._room.release()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Connection:
    """One connection; every wait is bounded by a deadline of time.monotonic."""

    def __init__(self, address: Address, deadline: float) -> None:
        self._http = Http11()
        self._source: Source | None = None
        """Has more to be sent."""
        self._unsent = memoryview(b"")
        self._socket = _connect(address, deadline)

    def send(self, request: Request, options: Options, deadline: float) -> Head:
        """Send a call and return the head of its answer. Raises NotTakenError, SourceError, BrokenAnswerError, OSError.

        A source is sent from while the answer is waited for, here and in `chunk`.
        """
        try:
            for piece in self._http.call(options.address, request, options.all_headers()):
                self._socket.settimeout(_left(deadline))
                self._socket.sendall(piece)
        except ConnectionError as error:
            try:
                return self._head(deadline)  # an answer to what it had read until then, 413 say
            except (OSError, BrokenAnswerError):
                raise NotTakenError(str(error)) from error
        self._source = request.source
        self._http.is_sending = self._source is not None
        return self._head(deadline)

    def chunk(self, deadline: float) -> bytes | None:
        """Return the next piece of the body, None at its end. Raises SourceError, BrokenAnswerError, OSError."""
        event = None if self._http.is_over else self._next(deadline)
        return event if isinstance(event, bytes) else None

    def renew(self) -> bool:
        """Whether this connection can carry another call."""
        return self._http.renew(time.monotonic())

    def is_fresh(self) -> bool:
        """Whether the other side still holds it."""
        return self._http.is_kept(time.monotonic()) and is_quiet(self._socket)

    def close(self) -> None:
        if self._http.is_sending:
            reset_when_closed(self._socket)
        self._socket.close()
        self._stop_sending()

    def _head(self, deadline: float) -> Head:
        while not isinstance(event := self._next(deadline), Head):
            pass
        return event

    def _next(self, deadline: float) -> Head | bytes | bool:
        while (event := self._http.next_event()) is None:
            if self._source is not None or self._unsent:
                self._send_more(deadline)
            self._socket.settimeout(_left(deadline))
            self._http.receive(self._socket.recv(READ))
        return event

    def _send_more(self, deadline: float) -> None:
        """Send what the source gives, as fast as it is taken, until something has come or all is sent."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        while self._source is not None or self._unsent:
            ready = poll.poll(_left(deadline) * 1000)
            if any(flags & ~select.POLLOUT for _, flags in ready):
                return
            if ready and not self._unsent:
                self._take_piece()
            elif ready:
                self._send_some(deadline)
        self._http.is_sending = False

    def _take_piece(self) -> None:
        piece = self._source.next() if self._source is not None else None
        if piece is None:
            self._source = None
        self._unsent = memoryview(self._http.end() if piece is None else self._http.piece(piece))

    def _send_some(self, deadline: float) -> None:
        self._socket.settimeout(_left(deadline))
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except ConnectionError:  # what it has said before is still to be read
            self._stop_sending()

    def _stop_sending(self) -> None:
        source, self._source, self._unsent = self._source, None, memoryview(b"")
        if source is not None:
            source.close()


def _connect(address: Address, deadline: float) -> socket.socket:
    if address.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(_left(deadline))
            connected.connect(address.socket)
        except BaseException:
            connected.close()
            raise
        return connected
    connected = socket.create_connection((address.host, address.port), _left(deadline))
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.is_tls:
            return ssl.create_default_context().wrap_socket(connected, server_hostname=address.host)
    except BaseException:
        connected.close()
        raise
    return connected


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
