"""A small HTTP/1.1 client for tests: h11 over a trio stream, so that everything odd can be sent and seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

import h11
import trio


@dataclass
class Response:
    """What came back; `complete` is False when the connection ended in the middle of the body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    complete: bool = True
    informational: list[int] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json()["error"])


class Http:
    """One connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.h11 = h11.Connection(h11.CLIENT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()

    async def send_head(self, method: str, path: str, headers: dict[str, str] | None = None) -> None:
        await self.stream.send_all(self._head(method, path, headers))

    def _head(self, method: str, path: str, headers: dict[str, str] | None) -> bytes:
        lines = [("host", "test"), *(headers or {}).items()]
        return bytes(self.h11.send(h11.Request(method=method, target=path, headers=lines)) or b"")

    async def send_whole(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Send a request in one piece, as most clients do; its headers tell the size of its body."""
        head, rest = self._head(method, path, headers), (h11.Data(data=body), h11.EndOfMessage())
        await self.stream.send_all(head + b"".join(self.h11.send(event) or b"" for event in rest))

    async def send_body(self, data: bytes) -> None:
        await self.stream.send_all(self.h11.send(h11.Data(data=data)))

    async def end_body(self) -> None:
        await self.stream.send_all(self.h11.send(h11.EndOfMessage()))

    async def next_event(self) -> Any:
        while (event := self.h11.next_event()) is h11.NEED_DATA:
            try:
                self.h11.receive_data(await self.stream.receive_some())
            except trio.BrokenResourceError:
                return h11.ConnectionClosed()
        return event

    async def read_head(self) -> Response:
        informational = []
        while True:
            event = await self.next_event()
            if isinstance(event, h11.InformationalResponse):
                informational.append(event.status_code)
                continue
            assert isinstance(event, h11.Response), event
            headers = {name.decode(): value.decode() for name, value in event.headers}
            return Response(event.status_code, headers, informational=informational)

    async def read_body(self, response: Response) -> Response:
        pieces = []
        while True:
            try:
                event = await self.next_event()
            except h11.RemoteProtocolError:
                event = None  # it closed before the last chunk
            if isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
                continue
            response.body = b"".join(pieces)
            response.complete = isinstance(event, h11.EndOfMessage)
            if self.h11.our_state is h11.DONE and self.h11.their_state is h11.DONE:
                self.h11.start_next_cycle()
            return response

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Response:
        given = dict(headers or {})
        if method == "POST":
            given.setdefault("content-length", str(len(body)))
        await self.send_whole(method, path, body, given)
        return await self.read_body(await self.read_head())

    async def post(self, path: str, body: bytes = b"", **headers: str) -> Response:
        return await self.request("POST", path, body, {name.replace("_", "-"): v for name, v in headers.items()})

    async def get(self, path: str) -> Response:
        return await self.request("GET", path)
