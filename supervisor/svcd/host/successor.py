"""The keeper's side of a change of daemons: where another daemon finds it, and what is kept for that one.

Law: a connection is nobody until it says Attach; one that says anything else is closed, and nothing else happens. While
a daemon is there nobody is let in.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from contextlib import suppress
from math import inf

import msgpack

from svcd.values.orders import LINK_VERSION, Attach, Exited, Greeting, pack, unpack
from svcd_ipc.errors import ProtocolError
from svcd_ipc.frames import FrameReader
from svcd_ipc.frames import pack as frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.values.orders import Event, Linger

_READ_SIZE = 64 * 1024
_GREETING_LIMIT = 1.0
"""Seconds to take a greeting of a few bytes."""


class Succession:
    """Until when the keeper goes on without a daemon, and who wants to be the next.

    Args:
        selector: Of the keeper's loop.
        greeting: What to say to whoever comes.
        attach: Takes the socket of the next daemon, once it has said Attach, and what else it has sent.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        greeting: Callable[[], Greeting],
        attach: Callable[[socket.socket, FrameReader], None],
    ) -> None:
        self._selector = selector
        self._greeting = greeting
        self._attach = attach
        self._grace = 0.0
        self._path = ""
        self.svcd = ""
        """Version of the daemon that said to linger."""
        self._listener: socket.socket | None = None
        self._candidates: dict[socket.socket, FrameReader] = {}
        self._end = inf
        self.memory: dict[str, bytes] = {}
        """What the next daemon is to know."""
        self.endings: dict[str, Exited] = {}
        """The last end of each replica, by its name without the generation."""

    def __repr__(self) -> str:
        """For how long, and who."""
        return f"<Succession of {self._grace:g} s, {len(self._candidates)} candidates>"

    def prepare(self, order: Linger) -> None:
        """Be ready to outlive the daemon: bind the socket; or no longer, with no seconds at all. Raises OSError."""
        self._grace, self.svcd = order.seconds, order.svcd
        if self._listener is None and order.seconds > 0:
            with suppress(FileNotFoundError):
                os.unlink(order.path)  # noqa: PTH108 - pathlib is a tenth of the keeper's start
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(order.path)
                os.chmod(order.path, 0o600)  # noqa: PTH101 - as above
                listener.listen(8)
            except OSError:
                listener.close()
                raise
            listener.setblocking(False)
            self._listener, self._path = listener, order.path

    def remember(self, key: str, value: bytes) -> None:
        """Keep a value, or forget it when it is empty."""
        if value:
            self.memory[key] = value
        else:
            self.memory.pop(key, None)

    def note(self, event: Event) -> None:
        """Keep what a later daemon will ask after."""
        if isinstance(event, Exited) and self._listener is not None:
            self.endings[event.id.rpartition("#")[0]] = event

    def begin(self) -> bool:
        """Wait for another daemon from now on; False when there is to be none."""
        if self._listener is None or self._grace <= 0:
            return False
        self._end = time.monotonic() + self._grace
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        return True

    @property
    def patience(self) -> float | None:
        """Seconds for which to go on waiting; None while nobody is waited for."""
        return None if self._end == inf else max(0.0, self._end - time.monotonic())

    def close(self) -> None:
        """Wait for nobody any more, and remove the socket."""
        self._stop_waiting()
        if self._listener is not None:
            self._listener.close()
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108 - as above

    def _stop_waiting(self) -> None:
        if self._end < inf and self._listener is not None:
            self._selector.unregister(self._listener)
        self._end = inf
        for candidate in list(self._candidates):
            self._drop(candidate)

    def _accept(self) -> None:
        try:
            candidate, _ = (self._listener or socket.socket()).accept()
        except OSError:
            return
        candidate.settimeout(_GREETING_LIMIT)
        try:
            candidate.sendall(frame(msgpack.packb([*pack(self._greeting()), self.patience or 0.0])))
        except OSError:
            candidate.close()
            return
        candidate.setblocking(False)
        self._candidates[candidate] = FrameReader()
        self._selector.register(candidate, selectors.EVENT_READ, lambda: self._hear(candidate))

    def _hear(self, candidate: socket.socket) -> None:
        reader = self._candidates.get(candidate)
        if reader is None:  # another was faster, in the same turn of the loop
            return
        try:
            data = candidate.recv(_READ_SIZE)
            reader.feed(data)
            body = reader.next_frame() if data else None
            order = None if body is None else unpack(msgpack.unpackb(body))
        except (OSError, ProtocolError, ValueError, msgpack.UnpackException):
            self._drop(candidate)
            return
        if isinstance(order, Attach) and order.version == LINK_VERSION:
            self._selector.unregister(candidate)
            del self._candidates[candidate]
            self._stop_waiting()
            self._attach(candidate, reader)
        elif not data or order is not None:
            self._drop(candidate)

    def _drop(self, candidate: socket.socket) -> None:
        del self._candidates[candidate]
        self._selector.unregister(candidate)
        candidate.close()
