"""Hypercorn's HTTP/1.1, with answers to what is malformed, pauses that notice the end, and whole responses at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.events import RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.worker_context import EventWrapper

from svcd.ingress.problems import Problem, long_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.protocol import ProtocolWrapper

    from svcd.ingress.exchange import Headers
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

    async def respond(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response and make ready for the next request; False where it has to go piece by piece.

        What hypercorn does for its parts one after the other, a third of what a small request costs here.
        """
        stream, connection = self.stream, self.connection
        if (
            not (isinstance(stream, HTTPStream) and isinstance(connection, h11.Connection))
            or stream.closed
            or stream.state is not ASGIHTTPState.REQUEST
            or connection.our_state is not h11.SEND_RESPONSE
        ):
            return False
        lines = [*headers, *self.config.response_headers("h11")]
        response = h11.Response(status_code=status, headers=lines)
        data = connection.send(response) + connection.send(h11.Data(data=body)) + connection.send(h11.EndOfMessage())
        stream.state = ASGIHTTPState.CLOSED
        await self.send(RawData(data))
        await self._maybe_recycle()
        return True

    async def _send_error_response(self, status_code: int) -> None:
        """Say what h11 has found; hypercorn's own answer has no body."""
        if status_code == 431:
            await self._say(long_head())
            return
        code, message = _WHY_MALFORMED.get(status_code, _WHY_MALFORMED[400])
        await self._say(Problem(status_code, code, message))
