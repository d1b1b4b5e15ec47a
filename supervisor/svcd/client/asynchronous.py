"""`svcd.AsyncClient`: calls that are awaited, on trio or asyncio."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio

from svcd.client import wire
from svcd.client.address import address_of
from svcd.client.async_connections import ENDS, Pool, Sending
from svcd.client.http11 import NotTakenError
from svcd.client.rules import Options, Refused, outcome
from svcd.client.sources import AsyncSource, request_of
from svcd.client.tasks import AsyncClientApi
from svcd_ipc.errors import ReplicaLost

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import TracebackType

    from svcd.client.async_connections import Connection
    from svcd.client.http11 import Head, Request


class AsyncClient:
    """Calls the entry service of a running app from async code; one event loop may use it.

    `await client.classify(image=png)` calls the api `classify`; `async for item in client.tokens(prompt="a")` takes the
    items of a stream. Arguments go by name; for a parameter that is a stream one may be an async iterator, or a plain
    one whose steps do not block. Cancelling the caller cancels the call.

    Args: as for `svcd.Client`.
    """

    def __init__(
        self, address: str, *, timeout: float = 60.0, retries: int = 2, headers: dict[str, str] | None = None
    ) -> None:
        self._options = Options(address_of(address), timeout, retries, headers or {})
        self._pool = Pool(self._options.address)

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
        return self._send(request_of(api, args, AsyncSource))

    def _send(self, request: Request) -> Answer:
        """Return what a request is answered with, to be awaited or iterated over."""
        return Answer(request, self._options, self._pool)


class Answer:
    """A call that is made when it is awaited, or when its first item is asked for.

    A loop over the items that is left early holds its connection until `aclose`, or until the end of an
    `async with client.tokens(...) as items:`. A call that sends a stream while it takes one needs that.
    """

    def __init__(self, request: Request, options: Options, pool: Pool) -> None:
        self._api = request.name
        self._request = request
        self._options = options
        self._pool = pool
        self._connection: Connection | None = None
        self._sending: Sending | None = None
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
        if self._request.source:
            self._sending = await Sending().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        finally:
            if self._sending is not None:
                await self._sending.__aexit__(kind, error, traceback)

    async def aclose(self) -> None:
        """Take no more items; the call is cancelled."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.give_back(connection)

    async def _result(self) -> Any:
        if self._request.source is None:
            return await self._value(None)
        async with Sending() as sending:
            return await self._value(sending)

    async def _value(self, sending: Sending | None) -> Any:
        deadline = time.monotonic() + self._options.timeout
        connection, head = await self._open(deadline, sending)
        try:
            if wire.is_stream(head.content_type):
                raise TypeError(f"{self._api} answers with a stream: iterate over it with async for")
            with self._errors():
                return outcome(self._request, head, await connection.rest(deadline))
        finally:
            await self._pool.give_back(connection)

    async def _begin(self) -> None:
        self._is_begun = True
        if self._request.source and self._sending is None:
            raise TypeError(f"{self._api} is sent a stream: begin with `async with client.{self._api}(...) as items`")
        self._connection, head = await self._open(time.monotonic() + self._options.timeout, self._sending)
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

    async def _open(self, deadline: float, sending: Sending | None) -> tuple[Connection, Head]:
        """Send the call, again where it may be; return the connection whose answer has begun with status 200."""
        attempt = 0
        while isinstance(value := await self._once(deadline, sending), Refused):
            await anyio.sleep(value.pause(self._request, self._options, attempt, deadline - time.monotonic()))
            attempt += 1
        return value

    async def _once(self, deadline: float, sending: Sending | None) -> tuple[Connection, Head] | Refused:
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
                head = await connection.send(self._request, options, deadline, sending)
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
        except ENDS as error:
            source = self._request.source
            raise (source and source.error) or self._options.lost(self._api, error) from error
