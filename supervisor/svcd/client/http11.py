"""The client's side of one HTTP/1.1 connection: bytes in, events out. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import h11

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.client.address import Address
    from svcd.client.sources import Source

KEEP_ALIVE = 60.0
"""Seconds that an idle connection is kept; the ingress keeps it longer, and so never ends one that is being taken."""
SMALL = 64 * 1024
"""Bytes of a body up to which it is sent together with its head: one packet less."""


class BrokenAnswerError(Exception):
    """What came is no HTTP, or ended too soon."""


class NotTakenError(Exception):
    """The connection ended before it had taken the whole call, which therefore was not run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the app."""

    name: str
    """In messages; the api's."""
    target: str
    """Path and query, quoted."""
    body: bytes = b""
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    """In the place of those of a call."""
    is_safe: bool = False
    """Whether it may be sent again though it may have been done already."""
    source: Source | None = None
    """What gives the rest of the body."""

    @classmethod
    def of_call(
        cls, api: str, body: bytes, *, content_type: str | None = None, source: Source | None = None
    ) -> Request:
        """Return the request that calls an api."""
        headers = (("content-type", content_type),) if content_type else ()
        return cls(api, f"/{quote(api, safe='')}", body, headers=headers, source=source)

    @property
    def can_be_repeated(self) -> bool:
        """Whether it is still there to be sent once more: what was taken of an iterator is gone."""
        return self.source is None or not self.source.has_begun


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer; names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


class Http11:
    """One connection; carries one call after the other."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.CLIENT)
        self._idle_since = 0.0
        self.is_sending = False
        """Whether not all of the call has gone to the socket yet; the connection sets it back when it has."""
        self.is_over = True
        """Whether the answer was read whole."""

    def __repr__(self) -> str:
        return f"<Http11 {self._connection.our_state} {self._connection.their_state}>"

    def call(self, address: Address, request: Request, headers: dict[str, str]) -> list[bytes]:
        """Return what is to be sent for a request; where that has a source, its pieces and the `end` come afterwards.

        Raises ValueError for a header that cannot be sent.
        """
        self.is_sending, self.is_over = True, False
        body = request.body
        framing = ("transfer-encoding", "chunked") if request.source else ("content-length", str(len(body)))
        lines = [("host", address.authority), *(headers | dict(request.headers)).items(), framing]
        target = f"{address.prefix}{request.target}"
        try:
            head = self._connection.send(h11.Request(method=request.method, target=target, headers=lines)) or b""
        except h11.LocalProtocolError as error:
            raise ValueError(f"{request.name}: {error}") from None
        if request.source:
            return [head + self.piece(body)]
        self._connection.send(h11.Data(data=body))
        self._connection.send(h11.EndOfMessage())
        return [head + body] if len(body) < SMALL else [head, body]

    def piece(self, data: bytes) -> bytes:
        """Return what is to be sent for a piece of a body that comes from a source."""
        return self._connection.send(h11.Data(data=data)) or b""

    def end(self) -> bytes:
        """Return what is to be sent after the last piece."""
        return self._connection.send(h11.EndOfMessage()) or b""

    def receive(self, data: bytes) -> None:
        """Take what has come; nothing means that the other side has closed."""
        self._connection.receive_data(data)

    def next_event(self) -> Head | bytes | bool | None:
        """Return the head, a piece of the body, True at its end, None where more data is needed.

        Raises BrokenAnswerError.
        """
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                raise BrokenAnswerError(str(error)) from error
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response):
                return Head(
                    event.status_code, {name.decode(): value.decode("latin-1") for name, value in event.headers}
                )
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self.is_over = True
                return True
            if isinstance(event, h11.ConnectionClosed):
                raise BrokenAnswerError("the connection was closed without an answer")

    def renew(self, now: float) -> bool:
        """Make ready for the next call; False when this connection carries none any more. now: in seconds."""
        states = self._connection.our_state, self._connection.their_state
        if self.is_sending or states != (h11.DONE, h11.DONE):
            return False
        self._connection.start_next_cycle()
        self._idle_since = now
        return True

    def is_kept(self, now: float) -> bool:
        """Whether it may carry another call: one that was idle for long may be ended at that very moment."""
        return now - self._idle_since <= KEEP_ALIVE
