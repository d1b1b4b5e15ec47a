"""From a request to a call of the entry, and from its answer to a response, up to the last step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack
import trio

from svcd.ingress.forms import is_form, parse_form
from svcd.ingress.problems import problem_of, refuse
from svcd.values.media import (
    CHARSETS,
    ERROR_ITEM,
    EVENTS,
    MSGPACK_SEQ,
    Accept,
    charset_of,
    codec_of,
    streamed_as,
)

if TYPE_CHECKING:
    from svcd.ingress.entry import Entry
    from svcd.ingress.exchange import Exchange
    from svcd.ingress.incoming import IncomingBody
    from svcd.ingress.log import Log
    from svcd.ingress.problems import Problem
    from svcd.worker.route_stream import RouteStream

LastStep = Callable[[], Awaitable[None]]
"""What ends a response; see the law of svcd.ingress.asgi."""

RETRIES = 2
"""How often a request to an idempotent api is sent again after its replica was lost, as `svcd.depends` has it."""
BIG_FORM = 1 << 20
"""Bytes; a form of this size is parsed on a thread, so that the loop goes on."""
_NO_STORE = ((b"cache-control", b"no-store"),)


class Calls:
    """Calls the entry's apis and the applications mounted on it."""

    def __init__(self, entry: Entry, log: Log) -> None:
        self._entry = entry
        self._log = log

    async def api(
        self, exchange: Exchange, name: str, described: dict[str, Any], body: bytes | IncomingBody
    ) -> LastStep:
        """Call an api that the entry has described. Raises RefusedError (400, 406, 415) or CallError."""
        check_accept(exchange, f"{self._entry.name}.{name}", described.get("answers"))
        check_encoding(exchange)
        args: dict[str, Any] = {"api": name, "accept": exchange.accept}
        call: dict[str, Any] = {"deadline": self._entry.deadline(), "trace": exchange.trace}
        if is_streamed(exchange, described):
            args |= {"type": exchange.content_type, "query": exchange.query_fields()}
        if isinstance(body, bytes):
            args |= await contents(exchange.content_type, body)
        else:
            call["body"] = body
        if described.get("is_stream"):
            return await self._stream(exchange, self._entry.stream(args, **call))
        retries = RETRIES if described.get("idempotent") else 0
        content_type, data = await self._entry.call(args, **call, retries=retries)
        return partial(exchange.respond, 200, content_type, data)

    async def mounted(self, exchange: Exchange, mount: str, body: bytes) -> LastStep:
        """Hand the request to an application and its response to the client, each as it is."""
        args = {"mount": mount, "scope": exchange.scope(), "body": body}
        items = self._entry.relay(args, deadline=self._entry.deadline(), trace=exchange.trace)
        async with aclosing(items):
            head = await anext(items)
            await exchange.begin_relayed(head["status"], head["headers"])
            return await self._send_rest(exchange, items, head["body"], self._abort)

    async def _stream(self, exchange: Exchange, items: RouteStream) -> LastStep:
        async with aclosing(items):
            content_type: str = await anext(items)
            # The status waits for the first chunk: an error up to here still has a status of its own.
            chunk: bytes | None = await anext(items, None)
            await exchange.begin_stream(content_type, _NO_STORE if content_type == EVENTS else ())
            broken = {EVENTS: self._end_events, MSGPACK_SEQ: self._end_values}.get(content_type, self._abort)
            return await self._send_rest(exchange, items, chunk, broken)

    async def _send_rest(
        self,
        exchange: Exchange,
        items: RouteStream,
        chunk: bytes | None,
        broken: Callable[[Exchange, Problem], Awaitable[LastStep]],
    ) -> LastStep:
        try:
            while chunk is not None:
                await exchange.chunk(chunk)
                chunk = await anext(items, None)
        except Exception as error:  # noqa: BLE001 - the status is out; what is left is to show that the rest is missing
            problem = problem_of(error, exchange.path)
            self._log.broken_stream(str(exchange), problem, error)
            return await broken(exchange, problem)
        return exchange.end

    @staticmethod
    async def _abort(exchange: Exchange, problem: Problem) -> LastStep:
        del problem
        return exchange.abort

    @staticmethod
    async def _end_events(exchange: Exchange, problem: Problem) -> LastStep:
        """An event stream has a form for an error."""
        await exchange.chunk(b"event: error\ndata: " + problem.body() + b"\n")
        return exchange.end

    @staticmethod
    async def _end_values(exchange: Exchange, problem: Problem) -> LastStep:
        """So has a sequence of values, for those who know svcd's; for all others the body is cut off besides."""
        await exchange.chunk(msgpack.packb(msgpack.ExtType(ERROR_ITEM, problem.body())))
        return exchange.abort


def may_be_streamed(exchange: Exchange) -> bool:
    """Whether the body of a request would be the items of a stream, if what it calls takes one."""
    return exchange.method == "POST" and streamed_as(exchange.content_type, ("text", "bytes")) is not None


def is_streamed(exchange: Exchange, described: dict[str, Any]) -> bool:
    """Whether the body of a request is the items of a parameter that is a stream."""
    told = described.get("stream_body")
    return told is not None and streamed_as(exchange.content_type, told["kinds"]) is not None


def check_accept(exchange: Exchange, title: str, offers: Sequence[str] | None) -> None:
    """Raise RefusedError (406) unless the client accepts one of the media types that an api (`title`) answers with."""
    if offers and exchange.accept and Accept(exchange.accept).best(offers) is None:
        message = f"{title} does not answer with {exchange.accept}, but with {', '.join(offers)}"
        raise refuse(406, "not_acceptable", message, offers=list(offers))


def check_encoding(exchange: Exchange) -> None:
    """Raise RefusedError (415) for a body that is compressed, and for text in a charset that is not known."""
    if exchange.encoding.lower() not in ("", "identity"):
        raise refuse(
            415, "media_type", f"content-encoding {exchange.encoding} is not supported; send the body as it is"
        )
    kind = exchange.content_type
    if kind[:5].lower() == "text/" and codec_of(kind) is None:
        told = ", ".join(CHARSETS)
        raise refuse(415, "media_type", f"charset={charset_of(kind)} is not supported; send the text as one of {told}")


async def contents(content_type: str, body: bytes) -> dict[str, Any]:
    """Return what the entry is told of a request's body. Raises RefusedError (400, 415)."""
    if not is_form(content_type):
        return {"body": body, "type": content_type}
    if len(body) < BIG_FORM:
        return {"form": parse_form(content_type, body)}
    return {"form": await trio.to_thread.run_sync(parse_form, content_type, body)}
