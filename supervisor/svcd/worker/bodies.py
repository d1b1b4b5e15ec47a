"""Bodies as the items of a parameter that is a stream, wherever the pieces that come were cut."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import msgpack

from svcd.app.streamed import JsonItems
from svcd.values import media
from svcd_ipc import exttypes
from svcd_ipc.errors import InvalidArgument
from svcd_ipc.frames import DEFAULT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LARGEST_ITEM = DEFAULT_LIMIT
"""Bytes of one item; what has come of it waits in memory for the rest."""


def items_of(body: Any, form: str, place: str, codec: str = "utf-8") -> Any:
    """Return an async iterator over the items in a body, which is bytes or an async iterator over pieces.

    Args:
        body: The body.
        form: See `media.streamed_as`.
        place: Api and parameter, for errors.
        codec: Python's name of the charset of text.
    """
    pieces = Whole(body) if isinstance(body, bytes) else body
    if form == media.NDJSON:
        return JsonItems(Items(pieces, Lines(place).feed))
    if form == media.MSGPACK_SEQ:
        return Items(pieces, Values(place).feed)
    return Items(pieces, Text(place, codec).feed) if form == media.TEXT else pieces


class Whole:
    """A body that is there, as its only piece."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def __anext__(self) -> bytes:
        body, self._body = self._body, None
        if not body:
            raise StopAsyncIteration
        return body

    async def aclose(self) -> None:
        """Nothing is to be closed."""


class Items:
    """Items out of pieces.

    Args:
        pieces: An async iterator.
        feed: Gives the items that are complete with a piece; an empty piece is the end.
    """

    def __init__(self, pieces: Any, feed: Callable[[bytes], Iterable[Any]]) -> None:
        self._pieces = pieces
        self._feed = feed
        self._here: Iterator[Any] = iter(())
        self._is_over = False

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> Any:
        while True:
            for item in self._here:
                return item
            if self._is_over:
                raise StopAsyncIteration
            try:
                piece = await self._pieces.__anext__()
            except StopAsyncIteration:
                self._is_over, piece = True, b""
            self._here = iter(self._feed(piece))

    async def aclose(self) -> None:
        """Take no more items."""
        await self._pieces.aclose()


class Lines:
    """Lines, without those that are empty."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        head, end, rest = piece.rpartition(b"\n")
        if end or not piece:
            lines = b"".join((*self._rest, head)).split(b"\n")
            self._rest, self._size = [rest], len(rest)
            return [line for line in lines if line.strip()]
        self._rest.append(piece)
        self._size += len(piece)
        if self._size > LARGEST_ITEM:
            raise _wrong(self._place, f"a line is longer than {LARGEST_ITEM} bytes")
        return []


class Values:
    """Msgpack values one after the other."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._fed = self._read = 0
        self._unpacker = msgpack.Unpacker(ext_hook=exttypes.unpack, strict_map_key=False, max_buffer_size=LARGEST_ITEM)

    def feed(self, piece: bytes) -> Iterator[Any]:
        """Yield the values that are complete now."""
        try:
            if piece:
                self._unpacker.feed(piece)
                self._fed += len(piece)
            for value in self._unpacker:
                self._read = self._unpacker.tell()
                yield value
        except (ValueError, TypeError, msgpack.BufferFull) as error:
            raise _wrong(self._place, f"not msgpack: {_cause(error)}") from None
        if not piece and self._read != self._fed:
            raise _wrong(self._place, "the last msgpack value is cut off")


class Text:
    """Text whose characters may be cut anywhere."""

    def __init__(self, place: str, codec: str = "utf-8") -> None:
        self._place = place
        self._name = codec.upper()
        self._decoder = codecs.getincrementaldecoder(codec)()

    def feed(self, piece: bytes) -> list[str]:
        """Return the text that is complete now."""
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise _wrong(self._place, f"not {self._name}: {error}") from None
        return [text] if text else []


def _cause(error: Exception) -> str:
    """What msgpack found wrong: some of its errors have a name and no text."""
    if isinstance(error, msgpack.BufferFull):
        return f"a value is longer than {LARGEST_ITEM} bytes"
    if isinstance(error, msgpack.FormatError):
        return "a byte that begins no value"
    if isinstance(error, msgpack.StackError):
        return "nested too deeply"
    return str(error) or type(error).__name__


def _wrong(place: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"{place}: {message}", details=[{"field": place.rpartition(": ")[2], "message": message}])
