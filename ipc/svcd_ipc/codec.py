"""Values to msgpack and back, without pickle.

Beyond msgpack's own types travel: numpy arrays and scalars of numeric and bool dtypes, torch tensors, date, time,
datetime and timedelta, enum members (as their value), dataclasses and pydantic models (as maps; the receiving edge
validates them), and whatever was registered. Tuples arrive as lists; a memoryview arrives as bytes or, from LEND bytes
on, as a memoryview. Sets, integers beyond 64 bits and other objects are refused with their place.

`encode` and `decode` are self-contained msgpack. A frame's body is made by `pack_body` and read by `unpack_body`: there
an array of at least `ATTACH` bytes is not copied into the msgpack text but attached, and arrives as a view of the
frame.

    [kind, ...]                      a message
    [bin head, bin pad, bin a, ...]  the same message packed in `head`; its arrays refer to the bins a, ... by number
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgpack

from svcd_ipc import exttypes
from svcd_ipc.buffers import LEND, SCATTERED, Buffer, with_buffers_in
from svcd_ipc.errors import EncodeError
from svcd_ipc.exttypes import DecodeError, register
from svcd_ipc.tensors import Flat, flat, is_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svcd_ipc.lending import Lender

    Piece = bytes | memoryview

__all__ = ["DecodeError", "UndecodableError", "decode", "encode", "pack_body", "register", "transfer", "unpack_body"]

ATTACH: Final = 16 * 1024
"""Bytes of an array from which on it is attached instead of copied."""

ALIGNMENT: Final = 16
"""Attachments start at a multiple of this within the body; malloc promises no more for the body itself."""

_KEEP = 1024 * 1024
"""A packer that has written more than this many bytes at once is dropped instead of kept with its buffer."""

_BIN8, _BIN16, _BIN32 = 0xC4, 0xC5, 0xC6
_ARRAY32 = 0xDD
_BIN32_HEADER = Struct(">BI")
_MALFORMED = (ValueError, TypeError, OverflowError, MemoryError)
REFUSED = (TypeError, ValueError, OverflowError, RecursionError, BufferError)


class UndecodableError(DecodeError):
    """One value inside a well-formed message cannot be made here; `envelope` is the message with None in its place."""

    def __init__(self, message: str, envelope: list[Any]) -> None:
        super().__init__(message)
        self.envelope = envelope


class Encoder:
    """A reusable packer; not to be used by two threads, or from within its own packing, at once."""

    __slots__ = ("_attach", "attached", "lend", "lent", "pack")

    pack: Callable[[Any], bytes]
    """Return the msgpack text. Raises one of REFUSED: call `reset` then; `finish` where there may be attachments."""

    def __init__(self, *, attach: bool) -> None:
        self._attach = attach
        self.lend: Callable[[Any], bytes | None] | None = None
        """Lends an array to the peer and returns the reference to it, or None where it has to be attached."""
        self.lent: list[bytes] = []
        """References to what was lent since this was last emptied."""
        self.reset()

    def reset(self) -> None:
        """Forget the last text."""
        self.pack = msgpack.Packer(default=self._default).pack
        self.attached: list[memoryview] = []
        """Arrays that the last text refers to, by their place in this list."""

    def finish(self, text: bytes) -> list[Piece]:
        """Return the pieces of a frame's body for the text that was just packed, and reset."""
        attached = self.attached
        if attached:
            self.attached = []
        if len(text) > _KEEP:
            self.reset()
        return [text] if not attached else [*_join_attached(text, attached)]

    def _default(self, value: Any) -> Any:
        """Give msgpack something it knows in place of `value`."""
        if type(value) is Buffer:
            return self._buffer(value)
        numpy = sys.modules.get("numpy")  # A process that has not imported it has no arrays.
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self._array(value)
        if type(value) is Flat or is_tensor(value):
            return self._tensor(value if type(value) is Flat else flat(value))
        if found := exttypes.pack_extension(value):
            return msgpack.ExtType(*found)
        return plain(value)

    def _array(self, array: Any) -> msgpack.ExtType:
        """Lend an array, else attach it, or let its bytes stand in the text where they are few."""
        for tell in on_array:
            tell(array)
        if self.lend is not None and array.nbytes >= LEND and (shared := exttypes.share_array(array, self.lend)):
            self.lent.append(shared[2])
            return msgpack.ExtType(*shared[:2])
        if self._attach and array.nbytes >= ATTACH:
            code, meta, data = exttypes.attach_array(array, len(self.attached))
            self.attached.append(data)
            return msgpack.ExtType(code, meta)
        return msgpack.ExtType(*exttypes.pack_array(array))

    def _tensor(self, tensor: Flat) -> msgpack.ExtType:
        """As `_array`, with the bytes of a tensor."""
        head, data = exttypes.tensor_head(tensor), tensor.data
        if self.lend is not None and len(data) >= LEND and (reference := self.lend(data)) is not None:
            self.lent.append(reference)
            return msgpack.ExtType(exttypes.SHARED_TENSOR, head + reference)
        if not self._attach or len(data) < ATTACH:
            return msgpack.ExtType(exttypes.TENSOR, head + bytes(data))
        self.attached.append(data)
        return msgpack.ExtType(exttypes.ATTACHED_TENSOR, head + str(len(self.attached) - 1).encode())

    def _buffer(self, buffer: Buffer) -> Any:
        """Lend a buffer, else let a view be attached and bytes stand in the text."""
        view = buffer.view
        if self.lend is not None and (reference := self.lend(view)) is not None:
            self.lent.append(reference)
            return msgpack.ExtType(exttypes.BYTES if buffer.is_bytes else exttypes.VIEW, reference)
        if buffer.is_bytes or not self._attach:
            return view.obj if isinstance(view.obj, (bytes, bytearray)) else view
        self.attached.append(view)
        return msgpack.ExtType(exttypes.ATTACHED_VIEW, str(len(self.attached) - 1).encode())


def plain(value: Any) -> Any:
    """Return what stands for an enum member, a dataclass instance or a pydantic model. Raises TypeError for others."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump()
    raise TypeError(exttypes.refusal(value))


on_array: list[Callable[[Any], None]] = []
"""Each is told of every array that is sent, before that; see `memory.empty`."""

_encoders: list[Encoder] = []
"""Idle ones; taking from and giving back to a list is atomic, so any thread may encode."""


def encode(value: Any) -> bytes:
    """Return a value as msgpack. Raises EncodeError naming type and place of what cannot travel."""
    encoder = _encoders.pop() if _encoders else Encoder(attach=False)
    try:
        text = encoder.pack(value)
    except REFUSED as error:
        raise explain(error, value, "value") from None
    if len(text) <= _KEEP:
        _encoders.append(encoder)
    return text


def decode(data: bytes | bytearray | memoryview) -> Any:
    """Return the value of a msgpack text. Raises DecodeError when it is none."""
    try:
        return msgpack.unpackb(data, ext_hook=exttypes.unpack, strict_map_key=False)
    except DecodeError:
        raise
    except _MALFORMED as error:
        raise DecodeError(f"not msgpack that can be read here: {_say(error)}") from error


def transfer(value: Any) -> Any:
    """Return what would arrive at another service, so that calls within one process see the same values."""
    pieces = pack_body([0, value], of=1, root="value")
    try:
        return unpack_body(memoryview(b"".join(pieces)))[1]
    except DecodeError as error:
        raise EncodeError(f"value: {error}") from error


def pack_body(message: list[Any], *, of: int, root: str) -> list[Piece]:
    """Return a frame's body in pieces; views among them show the caller's own arrays, which must not change until sent.

    `of` is the index of the user's value within the message and `root` its name. Raises EncodeError.
    """
    encoder = Encoder(attach=True)
    try:
        text = encoder.pack(message)
        if len(text) >= LEND and (found := with_buffers_in(message, of)) is not None:
            encoder.attached = []
            text = encoder.pack(found)
        return encoder.finish(text)
    except REFUSED as error:
        raise explain(error, message[of], root) from None


def unpack_body(body: bytes | memoryview, borrowed: Borrowed | None = None) -> list[Any]:
    """Return the message of a frame's body. Raises UndecodableError for one bad value, DecodeError for garbage.

    `borrowed` knows what references speak of; what its lender raises is raised as it is.
    """
    head = body
    hook: Callable[[int, bytes], Any] = exttypes.unpack
    if borrowed is not None:
        borrowed.count = borrowed.size = 0
        hook = borrowed.unpack
    try:
        if body[0] == _ARRAY32 and _is_attached(body):
            head, *attached = _split_attached(body)
            hook = exttypes.hook(attached[1::2], borrowed)
        message = msgpack.unpackb(head, ext_hook=hook, strict_map_key=False)
    except DecodeError as error:
        raise UndecodableError(str(error), _leniently(head, borrowed)) from error
    except TypeError as error:  # A map whose key is a list or a map: msgpack allows it, Python does not.
        raise UndecodableError(f"a map has a key that cannot be one: {error}", _leniently(head, borrowed)) from error
    except _MALFORMED as error:
        raise DecodeError(f"not msgpack: {_say(error)}") from error
    if not isinstance(message, list):
        raise DecodeError(f"not an array but {type(message).__name__}")
    return message


def explain(error: BaseException, value: Any, root: str) -> EncodeError:
    """Return the error that names what within `value` cannot travel."""
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return EncodeError(f"{root}: nested too deeply, or it contains itself")
    encoder = Encoder(attach=False)
    try:
        for path, leaf in _leaves(value, root):
            try:
                encoder.pack(leaf)
            except REFUSED as found:
                return EncodeError(f"{path}: {_reason(found, leaf)}")
    except RecursionError:
        return EncodeError(f"{root}: nested too deeply, or it contains itself")
    return EncodeError(f"{root}: {error}")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Walk all that is no container, each with its place, the keys of maps included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path} (a key)", key
            yield from _leaves(item, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key!r:.40}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        try:
            inner = plain(value)
        except REFUSED:
            yield path, value
        else:
            yield from _leaves(inner, path)


def _reason(error: BaseException, leaf: Any) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"a str that is not valid Unicode ({error.reason} at {error.start})"
    if isinstance(error, BufferError):
        return SCATTERED
    return exttypes.refusal(leaf) if isinstance(error, OverflowError) else str(error)


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _join_attached(head: bytes, attached: list[memoryview]) -> Iterator[Piece]:
    """Frame the head and its attachments as one array of bins, each attachment aligned by a bin of zeros before it."""
    prefix = _BIN32_HEADER.pack(_ARRAY32, 1 + 2 * len(attached)) + _BIN32_HEADER.pack(_BIN32, len(head))
    pending = prefix + head
    position = len(pending)
    for data in attached:
        pad = -(position + 2 + _BIN32_HEADER.size) % ALIGNMENT
        pending += bytes((_BIN8, pad)) + bytes(pad) + _BIN32_HEADER.pack(_BIN32, len(data))
        yield pending
        yield data
        position += 2 + pad + _BIN32_HEADER.size + len(data)
        pending = b""


def _is_attached(body: bytes | memoryview) -> bool:
    """Tell the second form of a body: our encoder begins it with an array32 of a bin32."""
    return len(body) > 2 * _BIN32_HEADER.size and body[_BIN32_HEADER.size] == _BIN32


def _split_attached(body: bytes | memoryview) -> list[memoryview]:
    """Cut an array of bins without copying, unless the frame shares its bytes with others and may not be aligned."""
    if isinstance(body, bytes) or isinstance(body.obj, bytes):
        body = memoryview(bytes(body))  # An assembled frame has its own memory, aligned by malloc or mmap.
    (_, count), at = _BIN32_HEADER.unpack_from(body), _BIN32_HEADER.size
    bins = []
    while at < len(body):
        at, end = _bin_at(body, at)
        bins.append(body[at:end])
        at = end
    if len(bins) != count or count % 2 == 0 or at != len(body):
        raise ValueError("attachments do not fill their frame")
    return bins


def _bin_at(body: memoryview, at: int) -> tuple[int, int]:
    """Return where the content of the bin at `at` starts and ends. Raises ValueError when it is no bin or cut off."""
    size = {_BIN8: 1, _BIN16: 2, _BIN32: 4}.get(body[at])
    if size is None:
        raise ValueError(f"byte 0x{body[at]:02x} where an attachment should be")
    start = at + 1 + size
    end = start + int.from_bytes(body[at + 1 : start], "big")
    if end > len(body):
        raise ValueError("an attachment is cut off")
    return start, end


class Borrowed:
    """What the messages of one connection refer to, each thing borrowed once."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self.count = 0
        """Things borrowed by the message that is read."""
        self.size = 0
        """Their bytes."""
        self.unpack = exttypes.hook((), self)
        """msgpack's ext_hook for a message without attachments."""

    def __call__(self, reference: bytes) -> memoryview:
        data = self._lender.borrow(reference)
        self.count += 1
        self.size += len(data)
        return data

    def refuse_rest(self, references: list[bytes]) -> None:
        """Give back what was not borrowed before the reading failed; references come in the same order again."""
        for reference in references[self.count :]:
            self._lender.refuse(reference)


def _leniently(head: bytes | memoryview, borrowed: Borrowed | None) -> list[Any]:
    """Read the message again with None for what cannot be made. Raises DecodeError when all of it is garbage."""
    references = []

    def hook(code: int, payload: bytes) -> None:
        if code in exttypes.LENT:
            references.append(exttypes.reference_in(payload))

    def pairs(items: list[tuple[Any, Any]]) -> dict[Any, Any]:
        return {key: item for key, item in items if not isinstance(key, (list, dict))}

    try:
        message = msgpack.unpackb(head, ext_hook=hook, object_pairs_hook=pairs, strict_map_key=False)
    except _MALFORMED as error:
        raise DecodeError(f"not msgpack: {_say(error)}") from error
    if borrowed is not None:
        borrowed.refuse_rest(references)
    if not isinstance(message, list):
        raise DecodeError(f"not an array but {type(message).__name__}")
    return message
