"""Messages into frames, for one connection; no socket here.

What the peer's arena is no longer needed for is given back along with whatever is said next.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from svcd_ipc.buffers import LEND, with_buffers_in
from svcd_ipc.codec import REFUSED, Encoder, explain
from svcd_ipc.errors import TooLarge
from svcd_ipc.exttypes import size_in
from svcd_ipc.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from svcd_ipc.codec import Piece
    from svcd_ipc.lending import Lender

    Chunks = list[Piece]
    """One frame in pieces. A memoryview among them shows the caller's own array, which must not change until sent."""

_LENGTH = Struct("<I")

_JOIN: Final = 16 * 1024
"""Up to this size one copy is cheaper than one more piece to send."""

_RETURN = int(Kind.RETURN)


class FrameWriter:
    """Makes frames of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._join = min(_JOIN, limit)
        self._encoder = Encoder(attach=True)
        self._lender: Lender | None = None
        self.notes: Collection[int] = ()
        """What is to be given back."""
        self.size = 0
        """Bytes of the last frame, with those that it refers to: what its receiver has to hold."""

    def share(self, lender: Lender) -> None:
        """Lend arrays from now on."""
        self._lender = lender
        self._encoder.lend = lender.lend
        self.notes = lender.notes

    def frame(self, message: list[Any], of: int = 0, root: str = "") -> Chunks:
        """Return a message as a frame; `of` and `root` place the user's value in it for errors. Raises EncodeError."""
        encoder = self._encoder
        try:
            text = encoder.pack(message)
            if len(text) >= LEND and self._lender is not None and (found := with_buffers_in(message, of)) is not None:
                self._take_back()
                encoder.attached = []
                text = encoder.pack(found)
        except REFUSED as error:
            encoder.reset()
            self._take_back()
            raise explain(error, message[of], root) from None
        size = len(text)
        if size <= self._join and not encoder.attached:
            self.size = size
            chunks: Chunks = [_LENGTH.pack(size) + text]
        else:
            body = encoder.finish(text)
            size = sum(map(len, body))
            if size > self._limit:
                self._take_back()
                raise _too_large(message[of], root, size, self._limit)
            self.size = size
            chunks = [_LENGTH.pack(size), *body]
        if encoder.lent:
            self.size += sum(map(size_in, encoder.lent))
            encoder.lent.clear()
        return chunks if not self.notes else self._with_returns(chunks)

    def returns(self) -> Chunks:
        """Return a frame that gives back what is no longer used; none when there is nothing."""
        numbers = self._lender.returns() if self._lender is not None else []
        if not numbers:
            return []
        text = self._encoder.pack([_RETURN, numbers])
        return [_LENGTH.pack(len(text)) + text]

    def _with_returns(self, chunks: Chunks) -> Chunks:
        returns = self.returns()
        if len(chunks) == 1 and returns:
            return [bytes(chunks[0]) + returns[0]]
        return chunks + returns

    def _take_back(self) -> None:
        """Forget what was lent by a message that is not sent."""
        if self._lender is not None:
            self._lender.take_back(self._encoder.lent)
        self._encoder.lent.clear()


def _too_large(value: Any, root: str, size: int, limit: int) -> TooLarge:
    """Return the error, whose details name the largest of several arguments."""
    message = f"{size} bytes with its envelope; the limit of a frame is {limit}; send it in pieces, as a stream"
    field = max(value, key=lambda name: _length(value[name])) if isinstance(value, dict) and value else root
    return TooLarge(f"{root}: {message}", [{"field": str(field), "message": message}])


def _length(value: Any) -> int:
    """Bytes of an array, about those of other values."""
    try:
        return int(getattr(value, "nbytes", 0)) or len(value)
    except TypeError:
        return 0
