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

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.ingress.entry import Entry
    from svcd.ingress.exchange import Receive, Scope, Send
    from svcd.ingress.log import Log
    from svcd.worker.route_stream import RouteStream

    LastStep = Callable[[], Awaitable[None]]

EVENTS = "text/event-stream"
BIG_FORM = 1 << 20
"""Bytes; a form of this size is parsed on a thread, so that the loop goes on."""
_NO_STORE = ((b"cache-control", b"no-store"),)


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
        is_call = exchange.method == "POST"
        try:
            body = await exchange.read_body(self._max_body) if is_call else b""
            last_step = await self._while_connected(
                exchange, partial(self._call, exchange, body) if is_call else partial(self._page, exchange)
            )
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the client gets an answer and the log a line
            last_step = self._failed(exchange, error)
        await last_step()

    async def _while_connected(self, exchange: Exchange, answer: Callable[[], Awaitable[LastStep]]) -> LastStep:
        """Run `answer` and return the last step it leaves. Raises ClientGoneError, with `answer` cancelled."""
        last_step: LastStep | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, exchange, nursery.cancel_scope)
            try:
                last_step = await answer()
            except Exception as error:  # noqa: BLE001 - as above; here already, because a nursery would wrap it in a group
                last_step = self._failed(exchange, error)
            nursery.cancel_scope.cancel()
        if last_step is None:
            raise ClientGoneError
        return last_step

    async def _call(self, exchange: Exchange, body: bytes) -> LastStep:
        deadline = self._entry.deadline()
        apis = await self._entry.apis(deadline)
        name = exchange.path[1:]
        if name not in apis:
            raise self._nothing_here(exchange, sorted(apis))
        args = {"api": name, "accept": exchange.accept, **await _contents(exchange, body)}
        if apis[name].get("is_stream"):
            return await self._stream(exchange, self._entry.stream(args, deadline=deadline, trace=exchange.trace))
        content_type, data = await self._entry.call(args, deadline=deadline, trace=exchange.trace)
        return partial(exchange.respond, 200, content_type, data)

    async def _stream(self, exchange: Exchange, items: RouteStream) -> LastStep:
        async with aclosing(items):
            content_type: str = await anext(items)
            # The status waits for the first chunk: an error up to here still has a status of its own.
            chunk: bytes | None = await anext(items, None)
            is_events = content_type.startswith(EVENTS)
            await exchange.begin(200, content_type, _NO_STORE if is_events else ())
            try:
                while chunk is not None:
                    await exchange.chunk(chunk)
                    chunk = await anext(items, None)
            except Exception as error:  # noqa: BLE001 - the status is out; what is left is to show that the rest is missing
                problem = problem_of(error)
                self._log.broken_stream(str(exchange), problem, error)
                if not is_events:
                    return exchange.abort
                await exchange.chunk(b"event: error\ndata: " + problem.body() + b"\n")
            return exchange.end

    async def _page(self, exchange: Exchange) -> LastStep:
        if exchange.method in ("GET", "HEAD") and exchange.path in PAGES:
            page = await read_page(exchange.path, self._entry)
            return partial(exchange.respond, page.status, page.content_type, page.body, _NO_STORE)
        # Not worth waiting for an entry that is still starting: without its apis there is nothing at this path yet.
        apis = await self._entry.apis(self._entry.deadline()) if self._entry.status().ready else {}
        if exchange.path[1:] in apis:
            raise refuse(405, "method", f"{exchange.path} is an api: call it with POST", allow="POST")
        raise self._nothing_here(exchange, sorted(apis))

    def _nothing_here(self, exchange: Exchange, apis: list[str]) -> Exception:
        if exchange.path in PAGES:
            return refuse(405, "method", f"{exchange.path} is a page: read it with GET", allow="GET, HEAD")
        name = self._entry.name
        known = (
            f"{name} has {', '.join(f'/{api}' for api in apis)}" if apis else f"{name} is not ready to say what it has"
        )
        return refuse(404, "not_found", f"nothing at {exchange.path}; {known}", apis=apis)

    def _failed(self, exchange: Exchange, error: Exception) -> LastStep:
        problem = problem_of(error)
        self._log.problem(str(exchange), problem, error)
        return partial(exchange.respond_problem, problem)


async def _cancel_when_gone(exchange: Exchange, scope: trio.CancelScope) -> None:
    await exchange.until_gone()
    scope.cancel()


async def _contents(exchange: Exchange, body: bytes) -> dict[str, Any]:
    """Return what the entry is told of the request's body. Raises RefusedError (400, 415)."""
    if exchange.encoding.lower() not in ("", "identity"):
        raise refuse(
            415, "media_type", f"content-encoding {exchange.encoding} is not supported; send the body as it is"
        )
    if not is_form(exchange.content_type):
        return {"body": body, "type": exchange.content_type}
    if len(body) < BIG_FORM:
        return {"form": parse_form(exchange.content_type, body)}
    return {"form": await trio.to_thread.run_sync(parse_form, exchange.content_type, body)}
