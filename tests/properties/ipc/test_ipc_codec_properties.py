"""Whatever can be packed arrives as it was, and whatever arrives is a value or a DecodeError."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from svcd_ipc.codec import DecodeError, decode, encode, pack_body, transfer, unpack_body

whole = st.integers(-(2**63), 2**64 - 1)
zones = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(
    lambda delta: dt.timezone(dt.timedelta(minutes=delta // dt.timedelta(minutes=1)))
)
leaves = (
    st.none()
    | st.booleans()
    | whole
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | zones)
    | st.timedeltas()
)
keys = st.text(st.characters(exclude_categories=["Cs"])) | whole
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5), max_leaves=30
)
numbers = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes() | hnp.complex_number_dtypes()
arrays = hnp.arrays(numbers, hnp.array_shapes(min_dims=0, min_side=0, max_side=40))


@settings(deadline=None)  # the machine may be busy
@given(values)
def test_values_arrive_as_they_were(value: Any) -> None:
    again = transfer(value)
    assert again == value
    assert decode(encode(value)) == value


@settings(deadline=None)  # the machine may be busy
@given(st.floats())
def test_floats_arrive_bit_for_bit(value: float) -> None:
    again = decode(encode(value))
    assert again == value or (math.isnan(again) and math.isnan(value))
    assert math.copysign(1, again) == math.copysign(1, value)


@settings(deadline=None)  # the machine may be busy
@given(arrays, st.booleans())
def test_arrays_arrive_as_they_were(array: np.ndarray[Any, Any], turned: bool) -> None:
    if turned:
        array = array.T
    for again in (decode(encode(array)), transfer([array])[0]):
        assert again.dtype == array.dtype
        assert again.shape == array.shape
        assert again.tobytes() == array.tobytes()
        assert not again.flags.writeable


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 70_000), max_size=4), values)
def test_attached_arrays_find_their_places(sizes: list[int], beside: Any) -> None:
    message = [1, {"arrays": [np.arange(size, dtype="u1") for size in sizes], "beside": beside}]
    body = b"".join(pack_body(message, of=1, root="args"))
    again = unpack_body(memoryview(bytearray(body)).toreadonly())
    assert [array.size for array in again[1]["arrays"]] == sizes
    assert all((array == np.arange(array.size, dtype="u1")).all() for array in again[1]["arrays"])
    assert again[1]["beside"] == beside


@settings(deadline=None)  # the machine may be busy
@given(st.binary())
def test_random_bytes_are_a_value_or_a_decode_error(data: bytes) -> None:
    for read in (decode, lambda data: unpack_body(data or b"\xc1")):
        with contextlib.suppress(DecodeError):
            read(data)


@settings(deadline=None)  # the machine may be busy
@given(values, st.data())
def test_a_changed_byte_is_a_value_or_a_decode_error(value: Any, data: st.DataObject) -> None:
    body = bytearray(b"".join(pack_body([1, value, np.arange(9)], of=1, root="args")))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        unpack_body(memoryview(body))
