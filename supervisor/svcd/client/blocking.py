"""`svcd.Client`: calls that block."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from svcd.client import wire
from svcd.client.address import address_of
from svcd.client.http11 import READ, BrokenAnswerError, Head, Http11, NotTakenError, Request
from svcd.client.rules import CONNECTIONS, KEEP_ALIVE, Options, Refused, outcome
from svcd.client.tasks import ClientApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.client.address import Address


class Client:
    """Calls the entry service of a running app; any thread may use it.

    `client.classify(image=png)` calls the api `classify`; a stream api gives an iterator. Arguments go by name.

    Args:
        address: `http://127.0.0.1:3000`, `unix:/run/svcd/app/http.sock`, or the name of an app of this user.
        timeout: Seconds for a call as a whole, and for each item of a stream; then the call is cancelled.
        retries: How often a call that was not delivered is sent again. Never one that may have run.
        headers: More headers for each request.
    """

    def __init__(
        self, address: str, *, timeout: float = 60.0, retries: int = 2, headers: dict[str, str] | None = None
    ) -> None:
        self._options = Options(address_of(address), timeout, retries, headers or {})
        self._pool = _Pool(self._options.address)

    def __repr__(self) -> str:
        return f"<svcd.Client {self._options.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> ClientApi:
        if name.startswith("_"):
            raise AttributeError(name)
        return ClientApi(name, partial(self.call, name), self._send, self._options.timeout)

    def within(self, timeout: float) -> Self:
        """Return this client with another timeout; both share their connections."""
        old = self._options
        other = object.__new__(type(self))
        other._options = Options(old.address, timeout, old.retries, old.headers)
        other._pool = self._pool
        return other

    def close(self) -> None:
        """Close the connections that carry no call; others close with theirs."""
        self._pool.close()

    def call(self, api: str, /, **args: Any) -> Any:
        """Call an api by name and return its result, or an iterator of its items.

        Raises:
            CallError: See docs/errors.md.
            EncodeError: An argument cannot travel.
        """
        return self._send(Request.of_call(api, wire.encode(args)))

    def _send(self, request: Request) -> Any:
        """Send a request, again where it may be, and return what its answer holds. Raises as `call`."""
        deadline = time.monotonic() + self._options.timeout
        attempt = 0
        while isinstance(value := self._once(request, deadline), Refused):
            pause = value.pause(attempt)
            if attempt >= self._options.retries or time.monotonic() + pause >= deadline:
                raise value.error
            time.sleep(pause)
            attempt += 1
        return value

    def _once(self, request: Request, deadline: float) -> Any:
        """Return a result, an iterator of items, or Refused."""
        options, api = self._options, request.name
        try:
            connection = self._pool.take(deadline)
        except TimeoutError:
            raise options.timed_out(api) from None
        except OSError as error:
            return Refused(options.not_connected(api, error))
        is_stream = False
        try:
            head = connection.send(request, options, deadline)
            is_stream = head.status == 200 and wire.is_stream(head.content_type)
            if is_stream:
                return Items(connection, api, options, self._pool)
            return outcome(request, head, b"".join(iter(lambda: connection.chunk(deadline), None)))
        except NotTakenError as error:
            return Refused(options.not_connected(api, error))
        except TimeoutError:
            raise options.timed_out(api) from None
        except (OSError, BrokenAnswerError) as error:
            if request.is_safe:
                return Refused(options.lost(api, error))
            raise options.lost(api, error) from error
        finally:
            if not is_stream:
                self._pool.give_back(connection)


class Items:
    """The items of a stream, as they come. Leaving it (`close`, a `with`, or letting go of it) cancels the call."""

    def __init__(self, connection: _Connection, api: str, options: Options, pool: _Pool) -> None:
        self._connection: _Connection | None = connection
        self._api = api
        self._options = options
        self._pool = pool
        self._items = wire.Items(api)
        self._here: Iterator[Any] = iter(())

    def __repr__(self) -> str:
        return f"<items of {self._api}{' (closed)' if self._connection is None else ''}>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise self._options.timed_out(self._api) from None
            if isinstance(error, OSError | BrokenAnswerError):
                raise self._options.lost(self._api, error) from error
            raise

    def _next(self) -> Any:
        deadline = time.monotonic() + self._options.timeout
        while True:
            for item in self._here:
                return item
            chunk = None if self._connection is None else self._connection.chunk(deadline)
            if chunk is None:
                raise StopIteration
            self._here = self._items.feed(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Take no more items."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)


class _Pool:
    """The connections of one client: those that are idle, and room for more."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[_Connection] = []
        self._room = threading.BoundedSemaphore(CONNECTIONS)

    def take(self, deadline: float) -> _Connection:
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
            return _Connection(self._address, deadline)
        except BaseException:
            self._room.release()
            raise

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read whole; close any other, which cancels its call."""
        if connection.renew():
            self._idle.append(connection)
        else:
            connection.close()
        self._room.release()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class _Connection:
    """One connection; every wait is bounded by a deadline of time.monotonic."""

    def __init__(self, address: Address, deadline: float) -> None:
        self._http = Http11()
        self._is_over = False
        self._idle_since = time.monotonic()
        self._socket = _connect(address, deadline)

    def send(self, request: Request, options: Options, deadline: float) -> Head:
        """Send a call and return the head of its answer. Raises NotTakenError, BrokenAnswerError, OSError."""
        self._is_over = False
        try:
            for piece in self._http.call(options.address, request, options.all_headers()):
                self._socket.settimeout(_left(deadline))
                self._socket.sendall(piece)
        except ConnectionError as error:
            try:
                return self._head(deadline)  # an answer to what it had read until then, 413 say
            except (OSError, BrokenAnswerError):
                raise NotTakenError(str(error)) from error
        return self._head(deadline)

    def chunk(self, deadline: float) -> bytes | None:
        """Return the next piece of the body, None at its end. Raises BrokenAnswerError, OSError."""
        if self._is_over:
            return None
        event = self._next(deadline)
        if isinstance(event, bytes):
            return event
        self._is_over = True
        return None

    def renew(self) -> bool:
        """Whether this connection can carry another call."""
        self._idle_since = time.monotonic()
        return self._is_over and self._http.renew()

    def is_fresh(self) -> bool:
        """Whether the other side still holds it; what comes unasked is its farewell."""
        if time.monotonic() - self._idle_since > KEEP_ALIVE:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._socket.close()

    def _head(self, deadline: float) -> Head:
        while not isinstance(event := self._next(deadline), Head):
            pass
        return event

    def _next(self, deadline: float) -> Head | bytes | bool:
        while (event := self._http.next_event()) is None:
            self._socket.settimeout(_left(deadline))
            self._http.receive(self._socket.recv(READ))
        return event


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
