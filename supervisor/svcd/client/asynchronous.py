"""`svcd.AsyncClient`: calls that are awaited, on trio or asyncio."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import anyio
import httpx

from svcd.client import wire
from svcd.client.address import address_of
from svcd.client.transport import call_errors, limits, settings
from svcd_ipc.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from svcd.client.address import Address


class AsyncClient:
    """Calls the entry service of a running app from async code; one event loop may use it.

    `await client.classify(image=png)` calls the api `classify`; `async for item in client.tokens(prompt="a")` takes the
    items of a stream. Arguments go by name. Cancelling the caller cancels the call.

    Args: as for `svcd.Client`.
    """

    def __init__(
        self, address: str, *, timeout: float = 60.0, retries: int = 2, headers: dict[str, str] | None = None
    ) -> None:
        self._address: Address = address_of(address)
        self._timeout = timeout
        self._retries = retries
        transport = (
            httpx.AsyncHTTPTransport(uds=self._address.socket, limits=limits(), trust_env=False)
            if self._address.is_local
            else None
        )
        self._http = httpx.AsyncClient(transport=transport, limits=limits(), **settings(self._address, headers))

    def __repr__(self) -> str:
        return f"<svcd.AsyncClient {self._address}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(**args: Any) -> Answer:
            return self.call(name, **args)

        call.__name__ = name
        return call

    def within(self, timeout: float) -> Self:
        """Return this client with another timeout; both share their connections."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _timeout=timeout)
        return other

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def call(self, api: str, /, **args: Any) -> Answer:
        """Call an api by name: await what this returns for the result, or iterate over it for the items of a stream.

        Raises EncodeError for an argument that cannot travel; the call itself raises CallError, see docs/errors.md.
        """
        return Answer(self, api, wire.encode(args))

    async def _send(self, api: str, body: bytes) -> httpx.Response:
        """Return an answer of status 200, its body still to be read."""
        deadline = time.monotonic() + self._timeout
        attempt = 0
        while isinstance(outcome := await self._once(api, body), wire.Refused):
            pause = outcome.pause(attempt)
            if attempt >= self._retries or time.monotonic() + pause >= deadline:
                raise outcome.error
            await anyio.sleep(pause)
            attempt += 1
        return outcome

    async def _once(self, api: str, body: bytes) -> httpx.Response | wire.Refused:
        request = self._http.build_request(
            "POST", f"/{quote(api)}", content=body, headers=wire.HEADERS, timeout=self._timeout
        )
        try:
            with call_errors(api, self._address, self._timeout):
                response = await self._http.send(request, stream=True)
        except ServiceUnavailable as error:
            return wire.Refused(error)
        if response.status_code == 200:
            return response
        async with aclosing(response):
            with call_errors(api, self._address, self._timeout):
                content = await response.aread()
        told = wire.error_of(api, response.status_code, content)
        if isinstance(told, ServiceUnavailable):
            return wire.Refused(told, response.headers.get("retry-after"))
        raise told


class Answer:
    """A call that is made when it is awaited, or when its first item is asked for.

    A loop over the items that is left early goes on to hold its connection until `aclose`, or the end of a
    `async with client.tokens(...) as items:`.
    """

    def __init__(self, client: AsyncClient, api: str, body: bytes) -> None:
        self._client = client
        self._api = api
        self._body = body
        self._response: httpx.Response | None = None
        self._chunks: Any = None
        self._items = wire.Items(api)
        self._here: Iterator[Any] = iter(())

    def __repr__(self) -> str:
        return f"<call of {self._api}>"

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._result().__await__()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            if self._response is None:
                await self._begin()
            while True:
                for item in self._here:
                    return item
                with self._errors():
                    chunk = await anext(self._chunks)
                self._here = self._items.feed(chunk)
        except BaseException:
            await self.aclose()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take no more items; the call is cancelled."""
        if self._response is not None:
            with anyio.CancelScope(shield=True):  # it only closes a socket
                await self._response.aclose()

    async def _begin(self) -> None:
        self._response = await self._client._send(self._api, self._body)  # noqa: SLF001 - the two are one
        if not wire.is_stream(self._response.headers.get("content-type", "")):
            raise TypeError(f"{self._api} answers with one value, not with a stream: await it")
        self._chunks = self._response.aiter_raw()

    async def _result(self) -> Any:
        response = await self._client._send(self._api, self._body)  # noqa: SLF001 - as above
        kind = response.headers.get("content-type", "")
        async with aclosing(response):
            if wire.is_stream(kind):
                raise TypeError(f"{self._api} answers with a stream: iterate over it with async for")
            with self._errors():
                content = await response.aread()
        return wire.decode(self._api, kind, content)

    def _errors(self) -> Any:
        return call_errors(self._api, self._client._address, self._client._timeout)  # noqa: SLF001 - as above
