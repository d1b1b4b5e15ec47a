"""The ext types of the wire: arrays, scalars, dates, and what was registered.

numpy is imported only here and only when an array arrives. An array travels as `dtype|shape`, padded with spaces to a
multiple of 16 bytes so that its data is aligned, then its data in C order. Object, string and structured dtypes are
refused: the first would need pickle, the others have better forms.
"""

from __future__ import annotations

import datetime as dt
import re
from math import prod
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeVar

from svcd_ipc import tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from svcd_ipc.tensors import Flat

    Borrow = Callable[[bytes], memoryview]

T = TypeVar("T")

ARRAY, ATTACHED, SCALAR, DATE, TIME, DATETIME, TIMEDELTA, SHARED, VIEW, BYTES, ATTACHED_VIEW = range(1, 12)
TENSOR, ATTACHED_TENSOR, SHARED_TENSOR = range(12, 15)
LENT: Final = (SHARED, VIEW, BYTES, SHARED_TENSOR)
"""Those that end with a reference to shared memory."""

FIRST_FREE: Final = 32
LAST_FREE: Final = 127

_ALIGN = 16
_REFERENCE: Final = 25
"""Bytes of a reference to shared memory, see `sharing`."""
_DTYPE = re.compile(r"[<>|][biufc]\d{1,2}")
"""What a dtype may look like on the wire; numpy's own parser accepts far more than arrays of numbers."""
_TORCH_DTYPE = re.compile(r"[a-z0-9_]{1,32}")

_TIMEDELTA_FORM = Struct("<iiI")
_BIGGEST_SHAPE = 64
_DATES = ((dt.datetime, DATETIME), (dt.date, DATE), (dt.time, TIME))
"""datetime before date, of which it is a subclass."""

_packers: dict[type, tuple[int, Callable[[Any], bytes]]] = {}
_unpackers: dict[int, Callable[[bytes], Any]] = {}


class DecodeError(ValueError):
    """A text is no msgpack, or a value in it cannot be made here (an array where numpy is missing, say)."""


def register(kind: type[T], code: int, pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> None:
    """Let values of `kind` and its subclasses travel as ext type `code` (32 to 127); both ends must do so.

    Raises ValueError when the code is out of range or taken by another type.
    """
    if not FIRST_FREE <= code <= LAST_FREE:
        raise ValueError(f"ext code {code} for {kind.__qualname__}: must be from {FIRST_FREE} to {LAST_FREE}")
    taken = next((other for other, (used, _) in _packers.items() if used == code and other is not kind), None)
    if taken is not None:
        raise ValueError(f"ext code {code} for {kind.__qualname__}: taken by {taken.__qualname__}")
    _packers[kind] = (code, pack)
    _unpackers[code] = unpack


def pack_extension(value: Any) -> tuple[int, bytes] | None:
    """Return (code, payload) of a registered value, a date or a numpy scalar, or None for other values."""
    for kind in type(value).__mro__:
        if found := _packers.get(kind):
            return found[0], found[1](value)
    for date_kind, code in _DATES:
        if isinstance(value, date_kind):
            return code, value.isoformat().encode()
    if isinstance(value, dt.timedelta):
        return TIMEDELTA, _TIMEDELTA_FORM.pack(value.days, value.seconds, value.microseconds)
    if hasattr(value, "dtype") and type(value).__module__ == "numpy":
        return SCALAR, _meta(value) + value.tobytes()
    return None


def pack_array(array: np.ndarray[Any, Any]) -> tuple[int, bytes]:
    """Return (code, payload) of an array, data included. Raises TypeError for a dtype that does not travel."""
    return ARRAY, _meta(array) + array.tobytes()


def share_array(array: np.ndarray[Any, Any], lend: Callable[[Any], bytes | None]) -> tuple[int, bytes, bytes] | None:
    """Return (code, payload, reference) of an array that is lent, None when it is not. Raises TypeError as above."""
    meta = _meta(array)
    reference = lend(array)
    return None if reference is None else (SHARED, meta + reference, reference)


def attach_array(array: np.ndarray[Any, Any], number: int) -> tuple[int, bytes, memoryview]:
    """Return (code, payload, data): the payload refers to the data by number. Raises TypeError as `pack_array`."""
    meta = _meta(array)
    flat = array.reshape(-1)  # In C order, but perhaps still with a stride.
    if not flat.flags.c_contiguous:
        flat = flat.copy()
    return ATTACHED, meta + str(number).encode(), flat.view("u1").data


def tensor_head(tensor: Flat) -> bytes:
    """Return what is said of a tensor before its data, or before what refers to it."""
    return _head(tensor.dtype, tensor.shape)


def unpack(code: int, payload: bytes) -> Any:
    """Return the value of an ext type that stands alone. Raises DecodeError when it cannot be made."""
    return hook(())(code, payload)


def hook(attached: Sequence[memoryview], borrow: Borrow | None = None) -> Callable[[int, bytes], Any]:
    """Return msgpack's ext_hook for one message with these attachments; `borrow` finds what it refers to.

    What `borrow` raises is raised as it is.
    """

    def read(code: int, payload: bytes) -> Any:
        data = borrow(reference_in(payload)) if borrow is not None and code in LENT else None
        try:
            if data is not None:
                return _lent_readers[code](payload, data)
            if code in _attached_readers:
                return _attached_readers[code](payload, attached)
            return _readers[code](payload) if code in _readers else _unpackers[code](payload)
        except DecodeError:
            raise
        except KeyError:
            raise DecodeError(f"ext type {code} is not registered here") from None
        except ImportError as error:
            raise DecodeError(f"an array has come, and numpy is missing here: {error}") from error
        except Exception as error:
            raise DecodeError(f"ext type {code} cannot be read: {type(error).__name__}: {error}") from error

    return read


def reference_in(payload: bytes) -> bytes:
    """Return the reference at the end of the payload of one of LENT."""
    return payload[-_REFERENCE:]


def size_in(reference: bytes) -> int:
    """Return the bytes that a reference speaks of."""
    return int.from_bytes(reference[-8:], "little")


def refusal(value: Any) -> str:
    """Say why a value does not travel, and what to do."""
    kind = type(value).__name__
    if isinstance(value, (set, frozenset)):
        return f"a {kind} cannot travel; send a list"
    if isinstance(value, int):
        return f"an integer of {value.bit_length()} bits cannot travel; 64 is the most"
    return f"a value of type {type(value).__module__}.{kind} cannot travel; send its fields, or register an ext type"


def _meta(array: Any) -> bytes:
    dtype = array.dtype
    if dtype.kind not in "biufc" or dtype.names or type(array).__name__ == "MaskedArray":
        what = "masked array" if type(array).__name__ == "MaskedArray" else f"numpy dtype {dtype}"
        raise TypeError(f"a {what} cannot travel; only plain arrays of numbers and bools do")
    return _head(dtype.str, array.shape)


def _head(dtype: str, shape: Iterable[int]) -> bytes:
    text = f"{dtype}|{','.join(map(str, shape))}|"
    return text.ljust(-(-len(text) // _ALIGN) * _ALIGN).encode()


def _split(payload: bytes, dtypes: re.Pattern[str] = _DTYPE) -> tuple[tuple[str, tuple[int, ...]], memoryview]:
    """Cut an array's payload into ((dtype, shape), rest). Raises DecodeError for a dtype that does not travel."""
    bar = payload.index(b"|", payload.index(b"|", 1) + 1)
    dtype, shape = payload[:bar].decode("ascii").rsplit("|", 1)
    if not dtypes.fullmatch(dtype):
        raise DecodeError(f"an array of dtype {dtype!r:.40} is not accepted")
    sizes = tuple(int(size) for size in shape.split(",") if size)
    if len(sizes) > _BIGGEST_SHAPE or any(size < 0 for size in sizes):
        raise DecodeError(f"an array of shape {shape!r:.40} is not accepted")
    start = -(-(bar + 1) // _ALIGN) * _ALIGN
    return (dtype, sizes), memoryview(payload)[start:]


def _array(meta: tuple[str, tuple[int, ...]], data: memoryview) -> np.ndarray[Any, Any]:
    """Return a read-only view of the data. Raises DecodeError when sizes do not agree."""
    import numpy  # noqa: ICN001, PLC0415 - a process that meets no array never pays for it

    dtype, shape = numpy.dtype(meta[0]), meta[1]
    if prod(shape) * dtype.itemsize != len(data):
        raise DecodeError(f"an array of {meta[0]} {shape} with {len(data)} bytes of data")
    return numpy.ndarray(shape, dtype, buffer=data)


def _attached_array(
    meta: tuple[str, tuple[int, ...]], number: memoryview, attached: Sequence[memoryview]
) -> np.ndarray[Any, Any]:
    return _array(meta, attached[int(number)])


def _shared_array(meta: tuple[str, tuple[int, ...]], data: memoryview) -> np.ndarray[Any, Any]:
    """As `_array`, but nobody can make it writable: its base is the read-only view and not what that is a view of."""
    import numpy  # noqa: ICN001, PLC0415 - as above

    _array(meta, data)
    return numpy.frombuffer(data, meta[0]).reshape(meta[1])


def _tensor(payload: bytes, data: memoryview | None = None) -> Any:
    """Return a tensor of the data, which stands in the payload unless told otherwise."""
    told, rest = _split(payload, _TORCH_DTYPE)
    try:
        return tensors.made(*told, rest if data is None else data)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _attached_tensor(payload: bytes, attached: Sequence[memoryview]) -> Any:
    return _tensor(payload, attached[int(_split(payload, _TORCH_DTYPE)[1])])


def _inline_array(payload: bytes) -> np.ndarray[Any, Any]:
    return _array(*_split(payload))


def _scalar(payload: bytes) -> Any:
    return _inline_array(payload)[()]


def _timedelta(payload: bytes) -> dt.timedelta:
    days, seconds, microseconds = _TIMEDELTA_FORM.unpack(payload)
    return dt.timedelta(days, seconds, microseconds)


_readers: dict[int, Callable[[bytes], Any]] = {
    ARRAY: _inline_array,
    TENSOR: _tensor,
    SCALAR: _scalar,
    DATE: lambda payload: dt.date.fromisoformat(payload.decode()),
    TIME: lambda payload: dt.time.fromisoformat(payload.decode()),
    DATETIME: lambda payload: dt.datetime.fromisoformat(payload.decode()),
    TIMEDELTA: _timedelta,
}

_attached_readers: dict[int, Callable[[bytes, Sequence[memoryview]], Any]] = {
    ATTACHED: lambda payload, attached: _attached_array(*_split(payload), attached),
    ATTACHED_TENSOR: _attached_tensor,
    ATTACHED_VIEW: lambda payload, attached: attached[int(payload)].toreadonly(),
}

_lent_readers: dict[int, Callable[[bytes, memoryview], Any]] = {
    SHARED: lambda payload, data: _shared_array(_split(payload[:-_REFERENCE])[0], data),
    SHARED_TENSOR: lambda payload, data: _tensor(payload[:-_REFERENCE], data),
    VIEW: lambda _, data: data,
    BYTES: lambda _, data: bytes(data),
}
