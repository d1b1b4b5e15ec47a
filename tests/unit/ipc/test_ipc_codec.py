"""Values travel or are refused with their place; arrays arrive as read-only, aligned views."""

from __future__ import annotations

import datetime as dt
import enum
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydantic
import pytest

from svcd_ipc import codec, exttypes
from svcd_ipc.codec import DecodeError, UndecodableError, decode, encode, pack_body, transfer, unpack_body
from svcd_ipc.errors import EncodeError

BERLIN_SUMMER = dt.timezone(dt.timedelta(hours=2))


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Box:
    corner: tuple[int, int]
    label: str


class Answer(pydantic.BaseModel):
    label: str
    at: dt.datetime | None = None


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        ("grüße", "grüße"),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a": {1: None}}, {"a": {1: None}}),
        (dt.date(2024, 2, 29), dt.date(2024, 2, 29)),
        (dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 4)),
        (dt.datetime(2024, 1, 2, 3, 4, 5, 6), dt.datetime(2024, 1, 2, 3, 4, 5, 6)),  # noqa: DTZ001 - naive on purpose
        (dt.datetime(2024, 1, 2, tzinfo=BERLIN_SUMMER), dt.datetime(2024, 1, 2, tzinfo=BERLIN_SUMMER)),
        (dt.timedelta(days=-3, microseconds=5), dt.timedelta(days=-3, microseconds=5)),
        (dt.timedelta.max, dt.timedelta.max),
        (Colour.RED, "red"),
        (Box((1, 2), "cat"), {"corner": [1, 2], "label": "cat"}),
        (Answer(label="cat"), {"label": "cat", "at": None}),
        (
            [Answer(label="x", at=dt.datetime(2024, 1, 2, tzinfo=dt.UTC))],
            [{"label": "x", "at": dt.datetime(2024, 1, 2, tzinfo=dt.UTC)}],
        ),
    ],
)
def test_round_trip(value: Any, arrives: Any) -> None:
    assert decode(encode(value)) == arrives
    assert transfer(value) == arrives
    assert type(transfer(value)) is type(arrives)


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.arange(6, dtype=np.float32).reshape(2, 3).T,
    np.zeros((0, 3)),
    np.array(3.5),
    np.arange(3, dtype=">i4"),
    np.array([True, False]),
    np.array([1 + 2j], dtype=np.complex64),
    np.zeros(100_000, np.float16),
    np.arange(90_000.0).reshape(300, 300)[::2, ::-3],
    np.ones((50, 1000), dtype=np.complex128),
    np.zeros(codec.ATTACH, np.uint8),
    np.zeros(codec.ATTACH - 1, np.bool_),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays(array: np.ndarray[Any, Any]) -> None:
    for again in (decode(encode(array)), transfer({"x": [array]})["x"][0]):
        assert again.dtype == array.dtype
        assert again.shape == array.shape
        assert np.array_equal(again, array)
        assert not again.flags.writeable
        assert again.flags.aligned
        assert not again.flags.owndata


def test_large_arrays_are_attached_without_a_copy() -> None:
    array = np.arange(50_000)
    pieces = pack_body([1, {"a": array, "b": array[::-1]}], of=1, root="args")
    assert any(
        isinstance(piece, memoryview) and np.shares_memory(np.frombuffer(piece, "u1"), array) for piece in pieces
    )
    frame = bytearray(b"".join(pieces))
    a, b = unpack_body(memoryview(frame).toreadonly())[1].values()
    assert np.shares_memory(a, np.frombuffer(frame, "u1"))
    assert np.array_equal(b, array[::-1])


@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int8(-3), np.bool_(True), np.complex64(1j)])
def test_numpy_scalars_keep_their_type(scalar: Any) -> None:
    again = decode(encode(scalar))
    assert again == scalar
    assert type(again) is type(scalar)


class Circular:
    def __init__(self) -> None:
        self.value: list[Any] = []
        self.value.append(self.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"image": [0, 0, 0, {1, 2}]}, r"value\.image\[3\]: a set cannot travel; send a list"),
        ([frozenset()], r"value\[0\]: a frozenset cannot travel"),
        ([2**64], r"value\[0\]: an integer of 65 bits"),
        (-(2**63) - 1, r"value: an integer of 64 bits"),
        ({"f": open}, r"value\.f: a value of type builtins\.builtin_function_or_method cannot travel"),
        ({"t": Box}, r"value\.t: a value of type builtins\.type"),
        (Box((1, 2), object()), r"value\.label: a value of type builtins\.object"),  # type: ignore[arg-type] - the point
        ({"s": "\ud800"}, r"value\.s: a str that is not valid Unicode"),
        ({3: {"x": 1j}}, r"value\[3\]\.x: a value of type builtins\.complex"),
        ({object(): 1}, r"value \(a key\): a value of type"),
        ({(1, 2): 1}, r"value: a map has a key that cannot be one"),
        (np.array([object()]), r"value: a numpy dtype object cannot travel"),
        ({"a": np.array(["x"])}, r"value\.a: a numpy dtype <U1"),
        (np.zeros(2, dtype=[("x", "i4")]), r"value: a numpy dtype"),
        (np.ma.masked_array([1], [True]), r"value: a masked array"),
        (np.datetime64("2024-01-01"), r"value: a numpy dtype datetime64\[D\]"),
        (Circular().value, r"value: nested too deeply, or it contains itself"),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        transfer(value)


def test_an_encoder_works_after_a_refusal() -> None:
    encoder = codec.Encoder(attach=True)
    for _ in range(3):
        with pytest.raises(codec.REFUSED):
            encoder.pack([np.zeros(50_000), {1}])
        encoder.reset()
        assert decode(encoder.pack("fine")) == "fine"
        assert encoder.attached == []


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xa2\xff\xff", b"\xdd\xff\xff\xff\xff"])
def test_garbage_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"O|3|" + bytes(12) + bytes(24),
        b"<i4|-1|".ljust(16),
        b"<i4|3|".ljust(16) + bytes(11),
        b"<i4|99999999999,99999999999|".ljust(32),
        b"<i4|x|".ljust(16),
        b"<V4|1|".ljust(16) + bytes(4),
        b"<i4|" + b"1," * 65 + b"|",
    ],
)
@pytest.mark.parametrize("code", [exttypes.ARRAY, exttypes.SCALAR, exttypes.ATTACHED])
def test_hostile_arrays_are_refused(code: int, payload: bytes) -> None:
    with pytest.raises(DecodeError):
        exttypes.unpack(code, payload)


@pytest.mark.parametrize("code", [exttypes.DATE, exttypes.TIME, exttypes.DATETIME, exttypes.TIMEDELTA, 99, -1])
def test_hostile_extensions_are_refused(code: int) -> None:
    with pytest.raises(DecodeError):
        exttypes.unpack(code, b"\xffnonsense")


def test_one_bad_value_leaves_the_message_readable() -> None:
    import msgpack

    body = msgpack.packb([1, 7, "api", {"x": msgpack.ExtType(99, b""), "y": 2}])
    with pytest.raises(UndecodableError, match="ext type 99 is not registered here") as caught:
        unpack_body(memoryview(body))
    assert caught.value.envelope == [1, 7, "api", {"x": None, "y": 2}]


def test_a_missing_numpy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode([np.arange(3)])
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(DecodeError, match="numpy is missing here"):
        decode(data)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_attachments_that_are_cut_off_are_garbage(cut: int) -> None:
    pieces = pack_body([1, np.zeros(50_000)], of=1, root="args")
    body = b"".join(pieces)
    with pytest.raises(DecodeError):
        unpack_body(memoryview(body[:-cut]))
    with pytest.raises(DecodeError):
        unpack_body(memoryview(body[:cut]))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what the test registers."""
    monkeypatch.setattr(exttypes, "_packers", {})
    monkeypatch.setattr(exttypes, "_unpackers", {})


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


@pytest.mark.usefixtures("registry")
def test_registered_types_travel() -> None:
    class Tip(Money):
        pass

    codec.register(Money, 101, lambda money: str(money.cents).encode(), lambda data: Money(int(data)))
    again = decode(encode([Tip(5)]))[0]
    assert type(again) is Money
    assert again.cents == 5
    with pytest.raises(ValueError, match="taken by Money"):
        codec.register(Box, 101, lambda _: b"", lambda _: Box((0, 0), ""))
    with pytest.raises(ValueError, match="must be from 32 to 127"):
        codec.register(Box, 3, lambda _: b"", lambda _: Box((0, 0), ""))


@pytest.mark.usefixtures("registry")
def test_a_registered_reader_that_raises_is_a_decode_error() -> None:
    class Odd:
        pass

    def read(_data: bytes) -> Odd:
        raise ZeroDivisionError

    codec.register(Odd, 102, lambda _: b"", read)
    with pytest.raises(DecodeError, match="ext type 102 cannot be read: ZeroDivisionError"):
        decode(encode(Odd()))
