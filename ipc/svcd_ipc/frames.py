"""Cut a byte stream into frames: a little-endian u32 length, then that many bytes.

The length is checked before anything is allocated. No message is known here; the keeper and the connection share it.
"""

from __future__ import annotations

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from struct import Struct
from typing import Final

from svcd_ipc.errors import LocalProtocolError, RemoteProtocolError

DEFAULT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest frame body unless told otherwise."""

_LENGTH = Struct("<I")
HEADER_SIZE: Final = _LENGTH.size

_LAZY = 1024 * 1024
"""From this size on a frame's memory is mapped: it takes up only what has really come, and is not zeroed by hand."""

_PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS

_VIEW = 4 * 1024
"""Up to this size a copy is cheaper than a view."""

_DIRECT = 64 * 1024
"""From this many missing bytes on, reading straight into the frame saves more than it costs."""


def header(length: int, limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the bytes that announce a body of this length. Raises LocalProtocolError beyond the limit."""
    if length > limit:
        raise LocalProtocolError(f"a frame of {length} bytes; the limit is {limit}")
    return _LENGTH.pack(length)


def pack(body: bytes, limit: int = DEFAULT_LIMIT) -> bytes:
    """Return a whole frame. Raises LocalProtocolError beyond the limit."""
    return header(len(body), limit) + body


class FrameReader:
    """Bytes in, frame bodies out.

    `feed` as many bytes as came, then take bodies with `next_frame` until it returns None. A body is bytes or a
    read-only view, and stays valid for as long as it is held. A large frame can be received in place: see `writable`.
    """

    __slots__ = ("_data", "_filled", "_head", "_limit", "at", "size", "target")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._data = b""
        self.size = 0
        self.at = 0
        """Bytes from `at` to `size` have come and are in no frame yet."""
        self._head = b""
        """The first bytes of a length that is not whole."""
        self.target: memoryview | None = None
        """The frame under assembly, once its length is known."""
        self._filled = 0

    def feed(self, data: bytes) -> None:
        """Take what came from the socket; the bytes are not copied unless earlier ones still wait."""
        if self.at < self.size or self._head:
            data = b"".join((self._head, self._data[self.at :], data))
            self._head = b""
        self._data = data
        self.size = len(data)
        self.at = 0

    def next_frame(self) -> bytes | memoryview | None:
        """Return the next body, or None when more bytes are needed. Raises RemoteProtocolError for a bad length."""
        if self.target is not None:
            return self._assemble()
        start = self.at + HEADER_SIZE
        if start > self.size:
            self._keep_head()
            return None
        (length,) = _LENGTH.unpack_from(self._data, self.at)
        if not 0 < length <= self._limit:
            raise RemoteProtocolError(self._bad_length(length))
        end = start + length
        if end > self.size:
            self.at = start
            self._filled = 0
            self.target = memoryview(bytearray(length) if length < _LAZY else mmap(-1, length, flags=_PRIVATE))
            return self._assemble()
        self.at = end
        return self._data[start:end] if length < _VIEW else memoryview(self._data)[start:end]

    def writable(self) -> memoryview | None:
        """Return where the missing bytes of a large frame belong, or None; report to `written` what was received."""
        if self.target is None or len(self.target) - self._filled < _DIRECT:
            return None
        return self.target[self._filled :]

    def written(self, count: int) -> None:
        """Say that `count` bytes were received into the view that `writable` gave."""
        self._filled += count

    @property
    def missing(self) -> str | None:
        """Say what an end of the stream here would cut off, or None between two frames."""
        if self.target is not None:
            return f"{self._filled} of {len(self.target)} bytes of a frame"
        if rest := len(self._head) + self.size - self.at:
            return f"{rest} of {HEADER_SIZE} bytes of a frame's length"
        return None

    def _keep_head(self) -> None:
        """Keep the bytes of a length that is not whole, and let go of the rest."""
        if self.at < self.size:
            self._head = self._data[self.at :]
        self._data = b""
        self.size = self.at = 0

    def _assemble(self) -> memoryview | None:
        """Move bytes to the frame under assembly; return it once it is whole."""
        target = self.target
        assert target is not None  # noqa: S101 - tells mypy what the only caller checked
        take = min(len(target) - self._filled, self.size - self.at)
        if take:
            target[self._filled : self._filled + take] = memoryview(self._data)[self.at : self.at + take]
            self._filled += take
            self.at += take
        if self._filled < len(target):
            return None
        self.target = None
        return target.toreadonly()

    def _bad_length(self, length: int) -> str:
        if not length:
            return "the peer sent an empty frame"
        return f"the peer announced a frame of {length} bytes; the limit is {self._limit}"
