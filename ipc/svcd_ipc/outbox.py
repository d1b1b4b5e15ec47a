"""What waits to be written to a socket. Nothing here waits itself: see `writing`.

A lone frame goes straight to the kernel. Frames of calls that are in flight together are joined into few writes per
pass of the event loop, and so are the answers to calls that came in one read (see `corked`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from svcd_ipc.bell import Bell

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from svcd_ipc.writer import Chunks

HIGH_WATER: Final = 4 * 1024 * 1024
"""Bytes waiting from which on nobody should add more than what must be said."""

LOW_WATER: Final = 1024 * 1024
"""Bytes waiting at which those who were held up go on."""

_JOIN = 128 * 1024
"""Bytes up to which waiting frames are copied together for one send."""

_MOST_JOINED = 32
"""Frames that are joined at most: the peer begins with those while this side goes on, and so on two cores both work."""

_PIECES = 64
"""Pieces handed to one sendmsg; the kernel takes 1024, but far fewer fill its buffer."""


class Outbox:
    """Writes frames to a non-blocking socket in the order in which they were put. `lost` is told of a dead socket."""

    def __init__(self, sock: socket.socket, lost: Callable[[OSError], None]) -> None:
        self._sock = sock
        self._lost = lost
        self._waiting: deque[bytes | memoryview] = deque()
        self.bell = Bell()
        """Rung when there is something to `push`."""
        self._held_up: list[Bell] = []
        self._is_dead = False
        self.size = 0
        """Bytes that wait."""
        self.total = 0
        """Bytes ever put. A frame put when this was n has not left at all while `total - size <= n`."""
        self.corked = False
        """While True everything waits for the `push` that whoever set it makes soon."""

    @property
    def is_blocked(self) -> bool:
        """Tell whether the kernel has to take more before there can be another `push`."""
        return bool(self._waiting) and not self._is_dead

    @property
    def is_high(self) -> bool:
        """Tell whether the peer reads so slowly that no more should be put."""
        return self.size > HIGH_WATER

    def put(self, chunks: Chunks, join: bool, borrowed: bool = False) -> None:
        """Send a frame: at once, or with `join` in this pass of the loop together with others.

        `borrowed`: the owner of views among the chunks keeps them unchanged until sent, or else calls `own`.
        """
        if not (join or self.corked or self._waiting) and len(chunks) == 1:
            chunk = chunks[0]
            self.total += len(chunk)
            try:
                count = self._sock.send(chunk)
            except OSError as error:
                self._put_off(chunk, error)
            else:
                if count < len(chunk):
                    self._put_off(memoryview(chunk)[count:])
            return
        for chunk in chunks:
            self._waiting.append(chunk)
            self.size += len(chunk)
            self.total += len(chunk)
        if not (join or self.corked) or len(self._waiting) >= _MOST_JOINED:
            self.push()
        elif not self.corked:
            self.bell.ring()
        if len(chunks) > 1 and not borrowed:
            self.own()

    def sent(self, frame: bytes | memoryview, count: int) -> None:
        """Take over a frame of which `count` bytes have been sent already; nothing else may wait."""
        self.total += len(frame)
        if count < len(frame):
            self._put_off(memoryview(frame)[count:])

    def own(self) -> None:
        """Copy what still waits in views of memory that its owner may change."""
        for index, piece in enumerate(self._waiting):
            if isinstance(piece, memoryview) and not isinstance(piece.obj, bytes):
                self._waiting[index] = bytes(piece)

    def push(self) -> None:
        """Hand the kernel what it takes now; the rest follows when it takes more."""
        while self._waiting and not self._is_dead:
            try:
                if self.size <= _JOIN:
                    self._join()
                    count = self._sock.send(self._waiting[0])
                else:
                    count = self._sock.sendmsg([piece for piece, _ in zip(self._waiting, range(_PIECES), strict=False)])
            except BlockingIOError:
                self.bell.ring()
                return
            except OSError as error:
                self._die(error)
                return
            self._drop(count)
        if self._held_up and self.size <= LOW_WATER:
            self._release()

    def hold_up(self) -> Bell | None:
        """Return a bell that is rung once no more than LOW_WATER bytes wait; None when that is so now."""
        if self.size <= LOW_WATER or self._is_dead:
            return None
        bell = Bell()
        self._held_up.append(bell)
        self.bell.ring()
        return bell

    def _put_off(self, rest: bytes | memoryview, error: OSError | None = None) -> None:
        """Keep what the kernel did not take of a lone frame, unless the socket is dead."""
        if error is None or isinstance(error, BlockingIOError):
            self._waiting.append(rest)
            self.size += len(rest)
            self.bell.ring()
        else:
            self._die(error)

    def _join(self) -> None:
        if len(self._waiting) > 1:
            joined = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting.append(joined)

    def _drop(self, count: int) -> None:
        """Forget `count` bytes that the kernel took."""
        self.size -= count
        while count:
            piece = self._waiting.popleft()
            if len(piece) > count:
                self._waiting.appendleft(memoryview(piece)[count:])
                return
            count -= len(piece)

    def _die(self, error: OSError) -> None:
        self._is_dead = True
        self._release()
        self._lost(error)

    def _release(self) -> None:
        for bell in self._held_up:
            bell.ring()
        self._held_up.clear()
