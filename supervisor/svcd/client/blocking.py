"""`svcd.Client`: calls that block."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from svcd.client import wire
from svcd.client.address import address_of
from svcd.client.blocking_connections import Pool
from svcd.client.http11 import BrokenAnswerError, NotTakenError
from svcd.client.rules import Options, Refused, outcome
from svcd.client.sources import Source, SourceError, request_of
from svcd.client.tasks import ClientApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.client.blocking_connections import Connection
    from svcd.client.http11 import Request


class Client:
    """Calls the entry service of a running app; any thread may use it.

    `client.classify(image=png)` calls the api `classify`; a stream api gives an iterator. Arguments go by name; for a
    parameter that is a stream one may be an iterator, which is stepped in the calling thread while that waits.

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
        self._pool = Pool(self._options.address)

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
        return self._send(request_of(api, args, Source))

    def _send(self, request: Request) -> Any:
        """Send a request, again where it may be, and return what its answer holds. Raises as `call`."""
        deadline = time.monotonic() + self._options.timeout
        attempt = 0
        while isinstance(value := self._once(request, deadline), Refused):
            time.sleep(value.pause(request, self._options, attempt, deadline - time.monotonic()))
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
        except SourceError as failed:
            raised = failed.error
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
        try:
            raise raised  # out here, with no context that is not the caller's
        finally:
            del raised  # It keeps this frame, and is not to be kept by it.


class Items:
    """The items of a stream, as they come. Leaving it (`close`, a `with`, or letting go of it) cancels the call."""

    def __init__(self, connection: Connection, api: str, options: Options, pool: Pool) -> None:
        self._connection: Connection | None = connection
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
        except SourceError as failed:
            raised = failed.error
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise self._options.timed_out(self._api) from None
            if isinstance(error, OSError | BrokenAnswerError):
                raise self._options.lost(self._api, error) from error
            raise
        self.close()
        try:
            raise raised
        finally:
            del raised  # as above

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
