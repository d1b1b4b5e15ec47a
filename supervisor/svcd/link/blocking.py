"""Calls over a Unix socket without an event loop: for the CLI, which should not pay for importing one.

The protocol is `svcd_ipc.connection`; this module only moves its bytes. One call at a time.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Self

from svcd_ipc.connection import Connection
from svcd_ipc.errors import Busy, DeadlineExceeded, RemoteProtocolError, ReplicaLost, from_wire
from svcd_ipc.messages import End, Error, Hello, Item, Ping, Refused, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from svcd_ipc.messages import Event

HELLO_LIMIT = 10.0
"""Seconds for the other side to say hello; one that is stopped or wedged accepts connections all the same."""
_CREDENTIALS = struct.Struct("3i")
"""Of SO_PEERCRED, see unix(7): pid, uid, gid."""
_READ_SIZE = 64 * 1024
_WINDOW = 64


class BlockingClient:
    """One connection to a socket at which somebody serves.

    Raises OSError when nobody does, RemoteProtocolError when it refuses or speaks something else, ReplicaLost when it
    is just ending, DeadlineExceeded when it says nothing.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any]) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._connection = Connection()
        self._deadline: float | None = time.monotonic() + HELLO_LIMIT
        self.peer: Hello | None = None
        try:
            self._socket.connect(str(path))
            credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self.pid: int = _CREDENTIALS.unpack(credentials)[0]
            """Of the process that listens there."""
            self._send(self._connection.send_hello(identity))
            self.peer = self._expect_hello()
        except BaseException:
            self._socket.close()
            raise

    def __repr__(self) -> str:
        """Who is on the other end."""
        return f"<BlockingClient to {self.peer}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def call(self, api: str, args: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Return the result. Raises CallError, DeadlineExceeded after `timeout` seconds."""
        number = self._begin(api, args, timeout, window=0)
        while True:
            event = self._next()
            if isinstance(event, (Result, Error, Refused)) and event.id == number:
                return _outcome(event)

    def stream(self, api: str, args: Mapping[str, Any], *, timeout: float | None = None) -> Iterator[Any]:
        """Give the items of a streaming api as they come."""
        number = self._begin(api, args, timeout, window=_WINDOW)
        while True:
            event = self._next()
            if isinstance(event, Item) and event.id == number:
                yield event.value
                self._send(self._connection.send_credit(number, 1))
            elif isinstance(event, End) and event.id == number:
                return
            elif isinstance(event, (Result, Error, Refused)) and event.id == number:
                yield _outcome(event)
                return

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Return True once the other side has ended the connection, False when `timeout` seconds have passed."""
        self._deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                self._next()
        except ReplicaLost:
            return True
        except DeadlineExceeded:
            return False

    def _begin(self, api: str, args: Mapping[str, Any], timeout: float | None, *, window: int) -> int:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        number, chunks = self._connection.send_call(api, args, deadline=self._deadline, window=window)
        self._send(chunks)
        return number

    def _expect_hello(self) -> Hello:
        event = self._next()
        if isinstance(event, Hello):
            return event
        raise RemoteProtocolError(f"a {type(event).__name__} came where a hello has to be")

    def _next(self) -> Event:
        while True:
            event = self._connection.next_event()
            if event is None:
                self._receive()
            elif isinstance(event, Ping):
                self._send(self._connection.send_pong(event.token))
            elif isinstance(event, Error) and event.id == 0:
                if self.peer is None:
                    raise RemoteProtocolError(f"refused: {event.message}")
                raise ReplicaLost(f"the other side ended the connection: {event.message}")
            else:
                return event

    def _receive(self) -> None:
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise DeadlineExceeded("no answer in time")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(_READ_SIZE)
        except TimeoutError:
            raise DeadlineExceeded("no answer in time") from None
        except ConnectionError as error:
            raise ReplicaLost(f"the connection broke: {error}") from error
        if not data:
            raise ReplicaLost("the other side ended the connection")
        self._connection.receive_data(data)

    def _send(self, chunks: list[Any]) -> None:
        self._socket.settimeout(None)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what it said last is still to be read
            for chunk in chunks:
                self._socket.sendall(chunk)


def _outcome(event: Result | Error | Refused) -> Any:
    if isinstance(event, Result):
        return event.value
    if isinstance(event, Refused):
        raise Busy(load=event.load)
    raise from_wire(event.code, event.message, event.details)
