"""One HTTP request and its response, on top of ASGI's receive and send."""

from __future__ import annotations

import re
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, parse_qsl

import trio

from svcd.ingress.problems import Problem, refuse
from svcd.ingress.trace import continue_trace, server_timing
from svcd_ipc.errors import BadResult
from svcd_ipc.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Headers = Iterable[tuple[bytes, bytes]]

LINGER = 5.0
"""Seconds that a refused body is still read and dropped: to close at once would reset the connection, and the client
might never see the answer."""
_ONE_AT_A_TIME = ("1.1", "1.0")
"""Versions in which a connection sends one response at a time."""
LOOK = 0.25
"""Seconds after which it is looked whether a client, of which nothing is read for the moment, is still there."""
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(rb"[^\x00\r\n]*")
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    )
)
"""Headers that speak of one connection (RFC 9110, section 7.6.1): the ingress makes its own."""


class Line(Protocol):
    """The connection that a request came by."""

    @property
    def has_read_all(self) -> bool:
        """Whether all of the request is there that the current task answers."""

    async def respond(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response with a body; False where it has to go piece by piece."""

    def reset(self) -> None:
        """End it at once."""

    def join_next(self) -> None:
        """Send the next piece together with the one after it."""

    def is_peer_gone(self) -> bool:
        """Whether the client has closed it; seen also where what it sent is not read yet."""


this_connection: ContextVar[Line | None] = ContextVar("this_connection", default=None)
"""The one that the current task serves; set by whoever accepts connections."""


class ClientGoneError(Exception):
    """The client closed its connection; nobody is left to answer."""


class Exchange:
    """Reads one request and writes its response.

    `trace` is the W3C trace context to pass on; every response carries it, and `lines`.
    """

    __slots__ = (
        *("_content_length", "_line", "_receive", "_scope", "_send", "is_body_unread"),
        *("accept", "asked_headers", "asked_method", "began", "content_type", "encoding", "head_size", "lines"),
        *("method", "origin", "path", "timing", "trace"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._line = this_connection.get()
        self.is_body_unread = False
        """Whether the answer comes before the end of a body that is read as it is asked for."""
        self.began = trio.current_time()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.content_type = self.accept = self.encoding = ""
        self.origin = self.asked_method = self.asked_headers = b""
        self.lines: tuple[tuple[bytes, bytes], ...] = ()
        """Headers of every response."""
        traceparent: bytes | None = None
        self._content_length = 0
        size = len(self.method) + len(scope["raw_path"]) + len(scope["query_string"])
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"accept":
                self.accept = f"{self.accept}, {value.decode('latin-1')}" if self.accept else value.decode("latin-1")
            elif name == b"content-length":
                self._content_length = int(value)  # digits only: the protocol below has checked
            elif name == b"content-encoding":
                self.encoding = value.decode("latin-1")
            elif name == b"traceparent":
                traceparent = value
            elif name == b"origin":
                self.origin = value
            elif name == b"access-control-request-method":
                self.asked_method = value
            elif name == b"access-control-request-headers":
                self.asked_headers = value
        self.head_size = size + 12 + 4 * len(scope["headers"])
        """Bytes of the request line and headers, give or take some white space."""
        self.trace = continue_trace(traceparent)
        self.timing = Timing(self.began)

    def __str__(self) -> str:
        """Return method and path as they came: what is percent-encoded there cannot forge lines in a log."""
        return f"{self.method} {self._scope['raw_path'].decode('ascii', 'backslashreplace')}"

    def __repr__(self) -> str:
        return f"<Exchange {self}>"

    def scope(self) -> dict[str, Any]:
        """Return ASGI's scope as far as it is plain values, with the trace continued."""
        told: dict[str, Any] = {
            key: self._scope[key]
            for key in ("method", "path", "raw_path", "query_string", "http_version", "scheme", "client", "server")
        }
        others = [(name, value) for name, value in self._scope["headers"] if name != b"traceparent"]
        return told | {"headers": [*others, (b"traceparent", self.trace.encode())]}

    async def read_body(self, limit: int, patience: float) -> bytes:
        """Return the whole body; `patience` is for each piece. Raises RefusedError (413, 408) or ClientGoneError."""
        if self._content_length > limit:
            raise _too_large(limit)
        if self._line is not None and self._line.has_read_all:
            return await self._read_pieces(limit, None)
        with trio.move_on_after(patience) as waiting:
            return await self._read_pieces(limit, partial(_put_off, waiting, patience))
        raise refuse(408, "slow_body", f"no more of the body came for {patience:g} s")

    async def _read_pieces(self, limit: int, has_come: Callable[[], None] | None) -> bytes:
        pieces, size = [], 0
        while True:
            piece, is_last = await self.read_piece()
            if piece:
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise _too_large(limit)
            if is_last:
                return b"".join(pieces) if len(pieces) != 1 else pieces[0]
            if has_come is not None:
                has_come()

    async def read_piece(self) -> tuple[bytes, bool]:
        """Return the next piece of the body, and whether it is the last one. Raises ClientGoneError."""
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        is_last = not message.get("more_body", False)
        if is_last:
            self.is_body_unread = False
        return message.get("body", b""), is_last

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the URL; the last one of a name."""
        return dict(parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True))

    def is_gone(self) -> bool:
        """Whether the client has closed its connection; for where nothing is read of it for a while."""
        return self._line is not None and self._line.is_peer_gone()

    def query_fields(self) -> dict[str, str | list[str]]:
        """Return the query's fields; one that comes more than once has a list of values. Raises RefusedError (400)."""
        try:
            found = parse_qs(self._scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError as error:
            raise refuse(400, "malformed", f"the query cannot be read: {error}") from None
        return {name: values if len(values) > 1 else values[0] for name, values in found.items()}

    async def until_gone(self) -> None:
        """Return when the client has closed its connection. Only once the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, content_type: str, body: bytes, headers: Headers = ()) -> None:
        """Send a whole response."""
        lines = self._with_own([*_typed(content_type), (b"content-length", b"%d" % len(body)), *headers])
        if self._line is not None and self._scope["http_version"] in _ONE_AT_A_TIME:
            is_plain = status == 200 and body and self.method == "POST" and not self.is_body_unread
            if is_plain and await self._line.respond(status, lines, body):
                return
            self._line.join_next()
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        if self.is_body_unread:
            await self.chunk(body)
            await self.end()
        else:
            await self._send({"type": "http.response.body", "body": body})

    async def respond_empty(self, headers: Headers) -> None:
        """Send 204."""
        await self.begin(204, headers)
        await self.end()

    async def respond_problem(self, problem: Problem) -> None:
        """Send an error, and read what is left of a body that was refused."""
        body = problem.body()
        lines = [*_typed("application/json"), (b"content-length", b"%d" % len(body)), *problem.headers]
        await self.begin(problem.status, lines)
        await self.chunk(body)
        self.is_body_unread = self.is_body_unread or problem.status in (408, 413, 431)
        await self.end()

    async def begin_stream(self, content_type: str, headers: Headers = ()) -> None:
        """Send status 200 and headers; without a content length the body goes in chunks."""
        await self.begin(200, [*_typed(content_type), *headers])

    async def begin_relayed(self, status: int, headers: Headers) -> None:
        """Send what an application answers, without the headers that are not its own to set. Raises BadResult."""
        kept = []
        for name, value in headers:
            if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
                raise BadResult(f"the application's header {name[:100]!r} cannot be sent: {value[:100]!r}")
            if name.lower() not in _HOP_BY_HOP:
                kept.append((name.lower(), value))
        # Where the application has its own word on other origins, that one counts.
        names = {name for name, _ in kept}
        if b"access-control-allow-origin" in names:
            self.lines = ()
        await self.begin(status, kept)

    async def begin(self, status: int, headers: Headers) -> None:
        """Send status and headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": self._with_own(headers)})

    def _with_own(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        times = server_timing(self.timing, trio.current_time(), self.path)
        return [*headers, *self.lines, (b"traceparent", self.trace.encode()), (b"server-timing", times)]

    async def chunk(self, data: bytes) -> None:
        """Send a piece of the body; returns when the client's connection has taken it."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the response, once what is left of an unread body has been read and dropped."""
        await self.drop_rest()
        await self._send({"type": "http.response.body", "body": b""})

    async def abort(self) -> None:
        """Give up a response that has begun, so that the client can tell that it is incomplete.

        HTTP/1.1 closes the connection without the last chunk once the application returns. HTTP/1.0 ends a body by
        closing, and HTTP/2 would keep the stream open, so those connections are reset.
        """
        if self._scope["http_version"] != "1.1":
            self.reset()

    def reset(self) -> None:
        """End the client's connection at once."""
        if self._line is not None:
            self._line.reset()

    async def drop_rest(self) -> None:
        """Read what is left of an unread body, for a while: the server below waits until what it has read is taken.

        A client that goes on sending then is cut off.
        """
        if not self.is_body_unread:
            return
        with trio.move_on_after(LINGER) as lingering:
            await self._drop_body()
        if lingering.cancelled_caught:
            self.reset()
            with trio.move_on_after(LOOK):  # what the server below had read until then
                await self._drop_body()

    async def _drop_body(self) -> None:
        is_last = False
        while not is_last:
            try:
                _, is_last = await self.read_piece()
            except ClientGoneError:
                return


def _put_off(waiting: trio.CancelScope, patience: float) -> None:
    waiting.deadline = trio.current_time() + patience


def _typed(content_type: str) -> Headers:
    return ((b"content-type", content_type.encode("latin-1", "replace")),)


def _too_large(limit: int) -> Exception:
    return refuse(
        413, "too_large", f"the body is larger than {limit} bytes, the limit of this app ([app] max_body)", limit=limit
    )
