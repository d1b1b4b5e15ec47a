"""The ASGI application: which request is which, and the life of one.

Law: while the entry works, the client is watched, and its going away cancels the call with all that the call started.
The watch ends before the last piece of the response is sent, because that piece also ends the request for the server
below, which must not be cancelled in the middle of that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from svcd.ingress.calls import Calls, is_streamed, may_be_streamed
from svcd.ingress.cors import CorsPolicy
from svcd.ingress.exchange import ClientGoneError, Exchange
from svcd.ingress.incoming import IncomingBody
from svcd.ingress.pages import PAGES, read_page
from svcd.ingress.problems import RefusedError, long_head, problem_of, refuse
from svcd.ingress.tasks import METHODS, Tasks
from svcd.ingress.watch import Watch
from svcd_ipc.calls import IncomingCall, current
from svcd_ipc.messages import Hello

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.ingress.calls import LastStep
    from svcd.ingress.entry import Entry, Surface
    from svcd.ingress.exchange import Receive, Scope, Send
    from svcd.ingress.log import Log
    from svcd.tasks.runner import Runner
    from svcd.values.specs import Cors, HttpLimits

ON_TOP = 300.0
"""Seconds beyond the entry's timeout for a body to come in and its answer to be read, unless configured."""
_CLIENT = Hello(0, {"role": "client"})
_NO_STORE = ((b"cache-control", b"no-store"),)
_PAGE_METHODS = "GET, HEAD, OPTIONS"
_API_METHODS = "POST, OPTIONS"


class Ingress:
    """Serves the entry's apis, the applications mounted on it, and the pages beside them.

    Args:
        entry: The entry service.
        limits: Those on the body and on the time of a request.
        cors: Which other origins may read the answers.
        log: Gets what goes wrong.
        runner: Has the queue of tasks, where the entry has any.
    """

    def __init__(self, entry: Entry, *, limits: HttpLimits, cors: Cors, log: Log, runner: Runner | None = None) -> None:
        self._entry = entry
        self._limits = limits
        self._cors = CorsPolicy(cors)
        self.version = ""
        """Of the entry, for `/docs.json`; it changes when the entry's replicas are replaced."""
        self._log = log
        self._calls = Calls(entry, log)
        self._tasks = Tasks(entry, runner) if runner is not None else None
        self._exchanges: set[Exchange] = set()
        self.watch = Watch()
        """Of clients that may go away; to be run by whoever accepts connections."""

    def __repr__(self) -> str:
        return f"<Ingress of {self._entry.name} [{self.in_flight} requests]>"

    @property
    def in_flight(self) -> int:
        """Requests that have not been answered in full."""
        return len(self._exchanges)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Never raises for what client or entry did."""
        if scope["type"] == "http":
            exchange = Exchange(scope, receive, send)
            self._exchanges.add(exchange)
            # A request is a task of its own: what it calls inherits from this, and adds its times there.
            current.set(IncomingCall("", {}, None, exchange.trace, 0, _CLIENT, trio.current_time, exchange.timing))
            try:
                await self._serve(exchange)
            finally:
                self._exchanges.discard(exchange)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # before it was accepted: the client sees 403

    def end_overdue(self, now: float) -> None:
        """Reset the connections of requests whose total time is up: a client may also be too slow in reading."""
        total = self._limits.total_timeout or self._entry.timeout + ON_TOP
        for exchange in [one for one in self._exchanges if one.began + total <= now]:
            self._log.line(f"{exchange}: not over after {total:g} s (total_timeout); its connection is closed")
            exchange.reset()

    async def _serve(self, exchange: Exchange) -> None:
        exchange.lines = self._cors.headers(exchange.origin)
        try:
            if exchange.head_size > self._limits.max_header:  # the protocol below only limits heads that come in parts
                raise RefusedError(long_head())
            if self._cors and exchange.method == "OPTIONS" and exchange.origin and exchange.asked_method:
                exchange.lines = ()
                await exchange.respond_empty(self._cors.preflight(exchange.origin, exchange.asked_headers))
                return
            last_step = await self._read_and_answer(exchange)
        except ClientGoneError:
            await exchange.drop_rest()
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the client gets an answer and the log a line
            last_step = self._failed(exchange, error)
        await last_step()

    async def _read_and_answer(self, exchange: Exchange) -> LastStep:
        if may_be_streamed(exchange):
            name, surface = exchange.path[1:], self._entry.known or await self._entry.surface(self._entry.deadline())
            described = surface.apis.get(name, {})
            if is_streamed(exchange, described):
                incoming = IncomingBody(exchange, self._limits.body_timeout)
                return await self._while_it_comes(
                    exchange, incoming, partial(self._calls.api, exchange, name, described)
                )
        body = await exchange.read_body(self._limits.max_body, self._limits.body_timeout)
        return await self._while_connected(exchange, partial(self._answer, exchange, body))

    async def _while_it_comes(
        self, exchange: Exchange, incoming: IncomingBody, answer: Callable[[IncomingBody], Awaitable[LastStep]]
    ) -> LastStep:
        """The same as `_while_connected` with a body that comes as it is asked for."""
        last_step: LastStep | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(incoming.pump, nursery.cancel_scope)
            try:
                last_step = await answer(incoming)
            except Exception as error:  # noqa: BLE001 - as above; here already, because a nursery would wrap it in a group
                last_step = self._failed(exchange, error)
            nursery.cancel_scope.cancel()
        if last_step is None:
            raise ClientGoneError
        return last_step

    async def _while_connected(self, exchange: Exchange, answer: Callable[[], Awaitable[LastStep]]) -> LastStep:
        """Run `answer` and return the last step it leaves. Raises ClientGoneError, with `answer` cancelled."""
        with trio.CancelScope() as scope:
            watching = self.watch.over(partial(_cancel_when_gone, exchange, scope))
            try:
                return await answer()
            except Exception as error:  # noqa: BLE001 - as above
                return self._failed(exchange, error)
            finally:
                watching.end()
        raise ClientGoneError

    async def _answer(self, exchange: Exchange, body: bytes) -> LastStep:
        path = exchange.path
        known = self._entry.known
        # The root belongs to an application that is mounted there, as soon as that is known.
        if path in PAGES and not (path == "/" and known is not None and "" in known.mounts):
            return await self._page(exchange)
        if path == "*" and exchange.method == "OPTIONS":  # the only request without a path
            return partial(exchange.respond_empty, [(b"allow", b"GET, HEAD, POST, OPTIONS")])
        surface = await self._entry.surface(self._entry.deadline())
        name, slash, what = path[1:].partition("/")
        api = surface.apis.get(name)
        if api is not None and not slash:
            return await self._api(exchange, name, api, body)
        if api is not None and self._tasks is not None and api.get("task") and what in METHODS:
            return await self._task(self._tasks, exchange, (name, what), api, body)
        mount = surface.mount_of(path)
        if mount is not None:
            return await self._calls.mounted(exchange, mount, body)
        raise self._nothing_here(exchange, surface)

    async def _api(self, exchange: Exchange, name: str, described: dict[str, Any], body: bytes) -> LastStep:
        if exchange.method != "POST":
            return _other_method(exchange, _API_METHODS, f"{exchange.path} is an api: call it with POST")
        return await self._calls.api(exchange, name, described, body)

    async def _task(
        self, tasks: Tasks, exchange: Exchange, path: tuple[str, str], described: dict[str, Any], body: bytes
    ) -> LastStep:
        method = METHODS[path[1]]
        if exchange.method != method:
            return _other_method(exchange, f"{method}, OPTIONS", f"{exchange.path} is called with {method}")
        return await tasks.answer(exchange, *path, described, body)

    async def _page(self, exchange: Exchange) -> LastStep:
        if exchange.method in ("GET", "HEAD"):
            page = await read_page(exchange.path, self._entry, accept=exchange.accept, version=self.version)
            return partial(exchange.respond, page.status, page.content_type, page.body, (*_NO_STORE, *page.headers))
        return _other_method(exchange, _PAGE_METHODS, f"{exchange.path} is a page: read it with GET")

    def _nothing_here(self, exchange: Exchange, surface: Surface) -> Exception:
        there = [f"/{api}" for api in surface.apis] + [f"{mount or ''}/" for mount in surface.mounts]
        known = ", ".join(sorted(there)) or "no apis"
        message = f"nothing at {exchange.path}; {self._entry.name} has {known}"
        return refuse(404, "not_found", message, apis=sorted(surface.apis))

    def _failed(self, exchange: Exchange, error: Exception) -> LastStep:
        problem = problem_of(error, exchange.path)
        self._log.problem(str(exchange), problem, error)
        return partial(exchange.respond_problem, problem)


async def _cancel_when_gone(exchange: Exchange, scope: trio.CancelScope) -> None:
    await exchange.until_gone()
    scope.cancel()


def _other_method(exchange: Exchange, allow: str, message: str) -> LastStep:
    """Answer a method that a path does not have. Raises RefusedError (405) unless it asks for those there are."""
    if exchange.method == "OPTIONS":
        return partial(exchange.respond_empty, [(b"allow", allow.encode())])
    raise refuse(405, "method", message, allow=allow)
