"""Hypercorn's HTTP/1.1, with answers to what is malformed, pauses that notice the end, and whole responses at once.

Law: a plain request (`plain`) that is answered as a whole passes h11 by, which is idle all the time then. As soon as
anything else is to be done with it (an answer in pieces, an error, more from the client before the answer is out) h11
is given the request after all, and is where it would have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.worker_context import EventWrapper

from svcd.ingress.plain import read_plain, write_plain
from svcd.ingress.problems import Problem, long_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.events import Event
    from hypercorn.protocol import ProtocolWrapper
    from hypercorn.protocol.events import Event as StreamEvent

    from svcd.ingress.exchange import Headers
    from svcd.ingress.plain import Header, Plain
    from svcd.ingress.watch import Watch

READ_AHEAD = 64 * 1024
"""Bytes of later requests on a connection that are taken in while one is being answered."""
_WHY_MALFORMED = {
    400: ("malformed", "this is no HTTP/1.1 request"),
    413: ("too_large", "the body is too large"),
    501: ("transfer_encoding", "the only transfer-encoding is chunked"),
}


class PeerGoneError(Exception):
    """The client closed its connection while later requests of it were waiting."""


class Pause(EventWrapper):
    """Where hypercorn waits with the next request of a pipelining client until the one before is answered.

    It does not read meanwhile, and so would not notice that the client is gone; this does.
    """

    def __init__(self, stream: trio.SocketStream, connection: Any, watch: Watch, stir: Callable[[], None]) -> None:
        super().__init__()
        self._stream = stream
        self._stir = stir
        self._watch = watch
        self._connection = connection
        self._ahead = 0
        self._is_gone = False

    async def wait(self) -> None:
        """Return when the next request may begin. Raises PeerGoneError."""
        self._stir()
        watching = self._watch.over(self._read_ahead)
        try:
            await super().wait()
        finally:
            await watching.until_ended()
        if self._is_gone:
            raise PeerGoneError
        self._ahead = 0

    async def _read_ahead(self) -> None:
        while self._ahead < READ_AHEAD:
            try:
                data = await self._stream.receive_some(READ_AHEAD - self._ahead)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self._is_gone = True
                await self.set()
                return
            self._ahead += len(data)
            self._connection.receive_data(bytes(data))


class Http1(H11Protocol):
    """One connection's HTTP/1.1, in the place of what a wrapper has. `say` sends a last answer."""

    def __init__(self, wrapper: ProtocolWrapper, say: Callable[[Problem], Awaitable[None]]) -> None:
        super().__init__(
            wrapper.app,
            wrapper.config,
            wrapper.context,
            wrapper.task_group,
            wrapper.state,
            wrapper.ssl,
            wrapper.client,
            wrapper.server,
            wrapper.send,
        )
        self._say = say
        self._unseen: bytes | None = None
        """The request under way, as long as h11 has not been given it."""

    async def handle(self, event: Event) -> None:
        """Take what came."""
        if isinstance(event, RawData):
            if self._is_idle() and (request := read_plain(event.data)) is not None:
                self._unseen = event.data
                await self._begin(request)
                return
            self._show()
        await super().handle(event)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of a response."""
        self._show()
        await super().stream_send(event)

    def _is_idle(self) -> bool:
        connection = self.connection
        return (
            self.stream is None
            and connection.our_state is connection.their_state is h11.IDLE
            and not connection.trailing_data[0]
        )

    async def _begin(self, request: Plain) -> None:
        """Do with a plain request what hypercorn does with h11's events of it."""
        await self.send(Updated(idle=False))
        stream = self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        head = Request(STREAM_ID, request.headers, "1.1", "POST", request.target, self.connection_state)
        await stream.handle(head)
        self.keep_alive_requests += 1
        await self.context.mark_request()
        await stream.app_put({"type": "http.request", "body": request.body, "more_body": False})

    def _show(self) -> None:
        """Give h11 the request that is under way, if it does not know it."""
        if self._unseen is not None:
            data, self._unseen = self._unseen, None
            self.connection.receive_data(data)
            for _ in range(3):  # the head, the body, its end: what has come of them is under way already
                self.connection.next_event()

    async def respond(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response and make ready for the next request; False where it has to go piece by piece.

        What hypercorn does for its parts one after the other, a third of what a small request costs here.
        """
        stream = self.stream
        if not isinstance(stream, HTTPStream) or stream.closed or stream.state is not ASGIHTTPState.REQUEST:
            return False
        lines = [*headers, *self.config.response_headers("h11")]
        unseen = self._unseen
        data = None if unseen is None else write_plain(status, lines, body)
        if data is None:
            self._show()
            unseen, data = None, self._tell(status, lines, body)
            if data is None:
                return False
        stream.state = ASGIHTTPState.CLOSED
        await self.send(RawData(data))
        if unseen is None:
            await self._maybe_recycle()
        elif self._unseen is unseen:
            self._unseen = None
            await self._close_stream()
            await self.send(Closed() if self.context.terminated.is_set() else Updated(idle=True))
        else:  # While that was sent the client has sent more, which waits in h11 for the end of this response.
            self._tell(status, lines, body)
            await self._maybe_recycle()
        return True

    def _tell(self, status: int, lines: list[Header], body: bytes) -> bytes | None:
        """Give h11 a whole response, and return what is to be sent; None where it has no place for it."""
        connection = self.connection
        if not isinstance(connection, h11.Connection) or connection.our_state is not h11.SEND_RESPONSE:
            return None
        response = h11.Response(status_code=status, headers=lines)
        events = (response, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(connection.send(event) for event in events)

    async def _send_error_response(self, status_code: int) -> None:
        """Say what h11 has found; hypercorn's own answer has no body."""
        if status_code == 431:
            await self._say(long_head())
            return
        code, message = _WHY_MALFORMED.get(status_code, _WHY_MALFORMED[400])
        await self._say(Problem(status_code, code, message))
