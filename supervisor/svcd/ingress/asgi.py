"""The ASGI application: which request is which, and the life of a call.

Law: while the entry works, the client is watched, and its going away cancels the call with all that the call started.
The watch ends before the last piece of the response is sent, because that piece also ends the request for the server
below, which must not be cancelled in the middle of that.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from svcd.ingress.exchange import ClientGoneError, Exchange
from svcd.ingress.forms import is_form, parse_form
from svcd.ingress.pages import PAGES, read_page
from svcd.ingress.problems import problem_of, refuse
from svcd.ingress.trace import continue_trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.ingress.entry import Entry
    from svcd.ingress.exchange import Headers, Receive, Scope, Send
    from svcd.ingress.log import Log

    LastStep = Callable[[], Awaitable[None]]

HTTP_API = "svcd.http"
"""The entry's reserved api that takes a body as it came and gives back one that can be sent as it is."""
EVENTS = "text/event-stream"
_NO_STORE = [(b"cache-control", b"no-store")]
BIG_FORM = 1 << 20
"""Bytes; parsing a form of this size takes some 10 ms, which a thread takes off the loop."""


class Ingress:
    """Serves the entry's apis and the pages beside them."""

    def __init__(self, entry: Entry, *, max_body: int, log: Log) -> None:
        self.in_flight = 0
        """Requests that have not been answered in full."""
        self._entry = entry
        self._max_body = max_body
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Never raises for what client or entry did."""
        if scope["type"] == "http":
            self.in_flight += 1
            try:
                await self._serve(Exchange(scope, receive, send))
            finally:
                self.in_flight -= 1
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # before it was accepted: the client sees 403

    async def _serve(self, exchange: Exchange) -> None:
        trace = continue_trace(exchange.traceparent)
        headers = [(b"traceparent", trace.encode())]
        try:
            answer = self._call if exchange.method == "POST" else self._page
            body = await exchange.read_body(self._max_body) if exchange.method == "POST" else b""
            last_step = await self._while_connected(exchange, partial(answer, exchange, body, trace, headers))
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the client gets an answer and the log a line
            last_step = self._failed(exchange, error, headers)
        await last_step()

    async def _while_connected(self, exchange: Exchange, answer: Callable[[], Awaitable[LastStep]]) -> LastStep:
        """Run `answer` and return the last step it leaves. Raises ClientGoneError, with `answer` cancelled."""
        last_step: LastStep | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, exchange, nursery.cancel_scope)
            last_step = await answer()
            nursery.cancel_scope.cancel()
        if last_step is None:
            raise ClientGoneError
        return last_step

    async def _call(self, exchange: Exchange, body: bytes, trace: str, headers: list[tuple[bytes, bytes]]) -> LastStep:
        try:
            api = await self._find_api(exchange)
            args = {"api": api["name"], "accept": exchange.accept, **await _contents(exchange, body)}
            if api.get("is_stream"):
                return await self._stream(exchange, args, trace, headers)
            content_type, data = await self._entry.call(HTTP_API, args, trace=trace)
            return partial(exchange.respond, 200, content_type, data, headers)
        except Exception as error:  # noqa: BLE001 - as above; caught here because a nursery would wrap it in a group
            return self._failed(exchange, error, headers)

    async def _stream(
        self, exchange: Exchange, args: dict[str, Any], trace: str, headers: list[tuple[bytes, bytes]]
    ) -> LastStep:
        async with aclosing(self._entry.stream(HTTP_API, args, trace=trace)) as items:
            content_type: str = await anext(items)
            # The status waits for the first chunk: an error up to here still has a status of its own.
            chunk: bytes | None = await anext(items, None)
            is_events = content_type.startswith(EVENTS)
            await exchange.begin(200, content_type, [*headers, *(_NO_STORE if is_events else ())])
            try:
                while chunk is not None:
                    await exchange.chunk(chunk)
                    chunk = await anext(items, None)
            except Exception as error:  # noqa: BLE001 - the status is out; what is left is to show that the rest is missing
                problem = problem_of(error)
                self._log.broken_stream(repr(exchange), problem, error)
                if not is_events:
                    return exchange.abort
                await exchange.chunk(b"event: error\ndata: " + problem.body() + b"\n")
            return exchange.end

    async def _page(self, exchange: Exchange, _body: bytes, trace: str, headers: list[tuple[bytes, bytes]]) -> LastStep:
        try:
            if exchange.method not in ("GET", "HEAD") or exchange.path not in PAGES:
                raise await self._no_page(exchange)
            page = await read_page(exchange.path, self._entry, trace)
            return partial(exchange.respond, page.status, page.content_type, page.body, [*_NO_STORE, *headers])
        except Exception as error:  # noqa: BLE001 - as in _call
            return self._failed(exchange, error, headers)

    async def _find_api(self, exchange: Exchange) -> dict[str, Any]:
        apis = await self._entry.apis()
        name = exchange.path[1:]
        if name in apis:
            return {"name": name, **apis[name]}
        if exchange.path in PAGES:
            raise refuse(405, "method", f"{exchange.path} is read with GET", allow="GET, HEAD")
        raise _not_found(exchange, self._entry.name, sorted(apis))

    async def _no_page(self, exchange: Exchange) -> Exception:
        if exchange.path in PAGES:
            return refuse(405, "method", f"{exchange.path} is read with GET", allow="GET, HEAD")
        # Not worth waiting for an entry that is still starting: without its apis this is a 404 as well.
        apis = await self._entry.apis() if self._entry.status().ready else {}
        if exchange.path[1:] in apis:
            return refuse(405, "method", f"{exchange.path} is an api: call it with POST", allow="POST")
        return _not_found(exchange, self._entry.name, sorted(apis))

    def _failed(self, exchange: Exchange, error: Exception, headers: Headers) -> LastStep:
        problem = problem_of(error)
        self._log.problem(repr(exchange), problem, error)
        return partial(exchange.respond_problem, problem, headers)


async def _cancel_when_gone(exchange: Exchange, scope: trio.CancelScope) -> None:
    await exchange.until_gone()
    scope.cancel()


async def _contents(exchange: Exchange, body: bytes) -> dict[str, Any]:
    """Return what the entry is told of the request's body."""
    if exchange.encoding.lower() not in ("", "identity"):
        raise refuse(
            415, "media_type", f"content-encoding {exchange.encoding} is not supported; send the body as it is"
        )
    if not is_form(exchange.content_type):
        return {"body": body, "type": exchange.content_type}
    if len(body) < BIG_FORM:
        return {"form": parse_form(exchange.content_type, body)}
    return {"form": await trio.to_thread.run_sync(parse_form, exchange.content_type, body)}


def _not_found(exchange: Exchange, service: str, apis: list[str]) -> Exception:
    known = (
        f"{service} has {', '.join('/' + name for name in apis)}"
        if apis
        else f"{service} is not ready to say what it has"
    )
    return refuse(404, "not_found", f"nothing at {exchange.path}; {known}", apis=apis)
