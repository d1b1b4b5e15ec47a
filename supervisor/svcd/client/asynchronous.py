"""`svcd.AsyncClient`: calls that are awaited, on trio or asyncio."""

from __future__ import annotations

import select
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.abc import SocketAttribute

from svcd.client import wire
from svcd.client.address import address_of
from svcd.client.http11 import READ, BrokenAnswerError, Head, Http11, NotTakenError, Request
from svcd.client.rules import CONNECTIONS, KEEP_ALIVE, Options, Refused, outcome
from svcd.client.tasks import AsyncClientApi
from svcd_ipc.errors import ReplicaLost

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from anyio.abc import ByteStream

    from svcd.client.address import Address

_ENDS = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenAnswerError)
"""What a connection's end is raised as."""


class AsyncClient:
    """Calls the entry service of a running app from async code; one event loop may use it.

    `await client.classify(image=png)` calls the api `classify`; `async for item in client.tokens(prompt="a")` takes the
    items of a stream. Arguments go by name. Cancelling the caller cancels the call.

    Args: as for `svcd.Client`.
    """

    def __init__(
        self, address: str, *, timeout: float = 60.0, retries: int = 2, headers: dict[str, str] | None = None
    ) -> None:
        self._options = Options(address_of(address), timeout, retries, headers or {})
        self._pool = _Pool(self._options.address)

    def __repr__(self) -> str:
        return f"<svcd.AsyncClient {self._options.address}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __getattr__(self, name: str) -> AsyncClientApi:
        if name.startswith("_"):
            raise AttributeError(name)
        return AsyncClientApi(name, partial(self.call, name), self._send, self._options.timeout)

    def within(self, timeout: float) -> Self:
        """Return this client with another timeout; both share their connections."""
        old = self._options
        other = object.__new__(type(self))
        other._options = Options(old.address, timeout, old.retries, old.headers)
        other._pool = self._pool
        return other

    async def aclose(self) -> None:
        """Close the connections that carry no call; others close with theirs."""
        await self._pool.aclose()

    def call(self, api: str, /, **args: Any) -> Answer:
        """Call an api by name: await what this returns for the result, or iterate over it for the items of a stream.

        Raises EncodeError for an argument that cannot travel; the call itself raises CallError, see docs/errors.md.
        """
        return self._send(Request.of_call(api, wire.encode(args)))

    def _send(self, request: Request) -> Answer:
        """Return what a request is answered with, to be awaited or iterated over."""
        return Answer(request, self._options, self._pool)


class Answer:
    """A call that is made when it is awaited, or when its first item is asked for.

    A loop over the items that is left early holds its connection until `aclose`, or until the end of an
    `async with client.tokens(...) as items:`.
    """

    def __init__(self, request: Request, options: Options, pool: _Pool) -> None:
        self._api = request.name
        self._request = request
        self._options = options
        self._pool = pool
        self._connection: _Connection | None = None
        self._is_begun = False
        self._items = wire.Items(request.name)
        self._here: Iterator[Any] = iter(())

    def __repr__(self) -> str:
        return f"<call of {self._api}>"

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._result().__await__()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            if not self._is_begun:
                await self._begin()
            with self._errors():
                return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take no more items; the call is cancelled."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.give_back(connection)

    async def _result(self) -> Any:
        deadline = time.monotonic() + self._options.timeout
        connection, head = await self._open(deadline)
        try:
            if wire.is_stream(head.content_type):
                raise TypeError(f"{self._api} answers with a stream: iterate over it with async for")
            with self._errors():
                return outcome(self._request, head, await connection.rest(deadline))
        finally:
            await self._pool.give_back(connection)

    async def _begin(self) -> None:
        self._is_begun = True
        self._connection, head = await self._open(time.monotonic() + self._options.timeout)
        if not wire.is_stream(head.content_type):
            raise TypeError(f"{self._api} answers with one value, not with a stream: await it")

    async def _next(self) -> Any:
        deadline = time.monotonic() + self._options.timeout
        while True:
            for item in self._here:
                return item
            chunk = None if self._connection is None else await self._connection.chunk(deadline)
            if chunk is None:
                raise StopAsyncIteration
            self._here = self._items.feed(chunk)

    async def _open(self, deadline: float) -> tuple[_Connection, Head]:
        """Send the call, again where it may be; return the connection whose answer has begun with status 200."""
        attempt = 0
        while isinstance(value := await self._once(deadline), Refused):
            pause = value.pause(attempt)
            if attempt >= self._options.retries or time.monotonic() + pause >= deadline:
                raise value.error
            await anyio.sleep(pause)
            attempt += 1
        return value

    async def _once(self, deadline: float) -> tuple[_Connection, Head] | Refused:
        options = self._options
        try:
            connection = await self._pool.take(deadline)
        except TimeoutError:
            raise options.timed_out(self._api) from None
        except OSError as error:
            return Refused(options.not_connected(self._api, error))
        is_good = False
        try:
            with self._errors():
                head = await connection.send(self._request, options, deadline)
                is_good = head.status in (200, 202)
                if is_good:
                    return connection, head
                refused: Refused = outcome(self._request, head, await connection.rest(deadline))
                return refused
        except NotTakenError as error:
            return Refused(options.not_connected(self._api, error))
        except ReplicaLost as error:
            if self._request.is_safe and not error.from_peer:
                return Refused(error)
            raise
        finally:
            if not is_good:
                await self._pool.give_back(connection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise self._options.timed_out(self._api) from None
        except _ENDS as error:
            raise self._options.lost(self._api, error) from error


class _Pool:
    """The connections of one client: those that are idle, and room for more."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[_Connection] = []
        self._room: anyio.Semaphore | None = None

    async def take(self, deadline: float) -> _Connection:
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
                return _Connection(await _connect(self._address))
            except BaseException:
                self._room.release()
                raise

    async def give_back(self, connection: _Connection) -> None:
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


class _Connection:
    """One connection; every wait is bounded by a deadline of time.monotonic."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._http = Http11()
        self._is_over = False
        self._idle_since = time.monotonic()

    async def send(self, request: Request, options: Options, deadline: float) -> Head:
        """Send a call and return the head of its answer. Raises NotTakenError, TimeoutError, or one of _ENDS."""
        self._is_over = False
        try:
            with anyio.fail_after(deadline - time.monotonic()):
                for piece in self._http.call(options.address, request, options.all_headers()):
                    await self._stream.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            try:
                return await self._head(deadline)  # an answer to what it had read until then, 413 say
            except _ENDS:
                raise NotTakenError(str(error.__cause__ or error)) from error
        return await self._head(deadline)

    async def chunk(self, deadline: float) -> bytes | None:
        """Return the next piece of the body, None at its end. Raises TimeoutError, or one of _ENDS."""
        if self._is_over:
            return None
        event = await self._next(deadline)
        if isinstance(event, bytes):
            return event
        self._is_over = True
        return None

    async def rest(self, deadline: float) -> bytes:
        """Return what is left of the body. Raises as `chunk`."""
        pieces = []
        while (piece := await self.chunk(deadline)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def renew(self) -> bool:
        """Whether this connection can carry another call."""
        self._idle_since = time.monotonic()
        return self._is_over and self._http.renew()

    def is_fresh(self) -> bool:
        """Whether the other side still holds it; what comes unasked is its farewell."""
        if time.monotonic() - self._idle_since > KEEP_ALIVE:
            return False
        poll = select.poll()
        poll.register(self._stream.extra(SocketAttribute.raw_socket), select.POLLIN)  # noqa: S610 - no Django here
        return not poll.poll(0)

    async def aclose(self) -> None:
        with suppress(OSError, anyio.BrokenResourceError):
            await anyio.aclose_forcefully(self._stream)

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


async def _connect(address: Address) -> ByteStream:
    if address.socket:
        return await anyio.connect_unix(address.socket)
    if address.is_tls:
        return await anyio.connect_tcp(address.host, address.port, tls=True, tls_standard_compatible=False)
    return await anyio.connect_tcp(address.host, address.port)
