"""`svcd.Client`: calls that block."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from svcd.client import wire
from svcd.client.address import address_of
from svcd.client.transport import call_errors, limits, settings
from svcd_ipc.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svcd.client.address import Address


class Client:
    """Calls the entry service of a running app; any thread may use it.

    `client.classify(image=png)` calls the api `classify`; a stream api gives an iterator. Arguments go by name.

    Args:
        address: `http://127.0.0.1:3000`, `unix:/run/svcd/app/http.sock`, or the name of an app of this user.
        timeout: Seconds until an answer begins, and between two items of a stream; then the call is cancelled.
        retries: How often a call that was not delivered is sent again: no connection, or no replica. Never one that
            may have run.
        headers: More headers for each request.
    """

    def __init__(
        self, address: str, *, timeout: float = 60.0, retries: int = 2, headers: dict[str, str] | None = None
    ) -> None:
        self._address: Address = address_of(address)
        self._timeout = timeout
        self._retries = retries
        # A socket path and a pool have to be told to the transport; a proxy of the environment only works without one.
        transport = (
            httpx.HTTPTransport(uds=self._address.socket, limits=limits(), trust_env=False)
            if self._address.is_local
            else None
        )
        self._http = httpx.Client(transport=transport, limits=limits(), **settings(self._address, headers))

    def __repr__(self) -> str:
        return f"<svcd.Client {self._address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(**args: Any) -> Any:
            return self.call(name, **args)

        call.__name__ = name
        return call

    def within(self, timeout: float) -> Self:
        """Return this client with another timeout; both share their connections."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _timeout=timeout)
        return other

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def call(self, api: str, /, **args: Any) -> Any:
        """Call an api by name and return its result, or an iterator of its items.

        Raises:
            CallError: See docs/errors.md.
            EncodeError: An argument cannot travel.
        """
        body = wire.encode(args)
        deadline = time.monotonic() + self._timeout
        attempt = 0
        while isinstance(outcome := self._once(api, body), wire.Refused):
            pause = outcome.pause(attempt)
            if attempt >= self._retries or time.monotonic() + pause >= deadline:
                raise outcome.error
            time.sleep(pause)
            attempt += 1
        return outcome

    def _once(self, api: str, body: bytes) -> Any:
        """Return a result, an iterator of items, or Refused."""
        request = self._http.build_request(
            "POST", f"/{quote(api)}", content=body, headers=wire.HEADERS, timeout=self._timeout
        )
        try:
            with call_errors(api, self._address, self._timeout):
                response = self._http.send(request, stream=True)
        except ServiceUnavailable as error:
            return wire.Refused(error)
        if response.status_code == 200 and wire.is_stream(response.headers.get("content-type", "")):
            return Items(response, api, self._address, self._timeout)
        with closing(response), call_errors(api, self._address, self._timeout):
            content = response.read()
        if response.status_code == 200:
            return wire.decode(api, response.headers.get("content-type", ""), content)
        told = wire.error_of(api, response.status_code, content)
        if isinstance(told, ServiceUnavailable):
            return wire.Refused(told, response.headers.get("retry-after"))
        raise told


class Items:
    """The items of a stream, as they come. Leaving it (`close`, a `with`, or letting go of it) cancels the call."""

    def __init__(self, response: httpx.Response, api: str, address: Address, timeout: float) -> None:
        self._response = response
        self._api = api
        self._address = address
        self._timeout = timeout
        self._chunks = response.iter_raw()
        self._items = wire.Items(api)
        self._here: Iterator[Any] = iter(())

    def __repr__(self) -> str:
        return f"<items of {self._api}{' (closed)' if self._response.is_closed else ''}>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            while True:
                for item in self._here:
                    return item
                with call_errors(self._api, self._address, self._timeout):
                    chunk = next(self._chunks)
                self._here = self._items.feed(chunk)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Take no more items."""
        self._response.close()
