"""Bytes and memoryviews in shared memory, streams of arrays, and what waits for room."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
import trio
from sharing_rig import numbers, until_free

from svcd_ipc.buffers import LEND
from svcd_ipc.channel import Limits
from svcd_ipc.errors import DeadlineExceeded, EncodeError
from svcd_ipc.space import PAGE


@pytest.mark.parametrize("shares", [True, False])
async def test_bytes_arrive_as_bytes_and_large_memoryviews_as_views(pair: Any, memory: Any, shares: bool) -> None:
    two = await pair(mine=None if shares else memory(0))
    data = bytes(range(256)) * 1024
    grid = memoryview(np.arange(50_000, dtype="f8")).cast("B").cast("d", (100, 500))
    args = {"bytes": data, "array": bytearray(data), "view": memoryview(data)[5:], "small": memoryview(b"small")}
    args |= {"deep": [1, {"bytes": data, "view": memoryview(data)[3:]}, ("tuple", memoryview(b"x"))], "grid": grid}
    answer = await two.call("echo", args)
    assert answer["bytes"] == answer["array"] == data
    assert isinstance(answer["bytes"], bytes)
    assert isinstance(answer["array"], bytes)
    deep = answer["deep"]
    assert deep[1]["bytes"] == data
    assert deep[2] == ["tuple", b"x"]
    assert answer["small"] == b"small"
    for view, expected in (
        (answer["view"], data[5:]),
        (deep[1]["view"], data[3:]),
        (answer["grid"], grid.tobytes()),
    ):
        assert isinstance(view, memoryview)
        assert (view.readonly, view.format, view[0]) == (True, "B", expected[0])
        assert view == expected
    part = answer["view"][10:20]
    del answer, deep, view
    for start in range(1, 100):
        await two.call("echo", {"x": numbers(start=start)})
    assert part == data[15:25]
    del part
    await until_free(two.mine, two.theirs)


async def test_a_view_of_an_argument_that_is_a_memoryview_goes_back_by_reference(pair: Any) -> None:
    two = await pair()
    data = os.urandom(3 * LEND)
    answer = await two.call("slice", {"x": memoryview(data)})
    assert two.theirs.used == 0
    assert answer == data[PAGE : 2 * LEND + PAGE]
    assert answer.readonly
    del answer
    await until_free(two.mine, two.theirs)


async def test_a_stream_of_large_arrays_waits_for_its_consumer(pair: Any) -> None:
    two = await pair(64 * 1024 * 1024)
    x = np.ones(6 << 20, "u1")  # more than may be under way
    stream = two.caller.stream("items", {"x": x})
    async for item in stream:
        assert item.nbytes == x.nbytes
        assert two.theirs.used <= 3 * x.nbytes
    del item, stream
    await until_free(two.mine, two.theirs)


async def test_an_array_larger_than_a_frame_waits_for_room(pair: Any) -> None:
    two = await pair(24 * 1024 * 1024, limits=Limits(frame=4 << 20))
    x = np.ones(9 << 20, "u1")
    totals = []

    async def call() -> None:
        totals.append((await two.call("plus_one", {"x": x})).sum(dtype="u8"))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(call)
    assert totals == [2 * x.size] * 6
    await until_free(two.mine, two.theirs)


async def test_the_wait_for_room_ends_with_the_deadline(pair: Any) -> None:
    two = await pair(24 * 1024 * 1024, limits=Limits(frame=4 << 20))
    x = np.ones(20 << 20, "u1")
    await two.call("keep", {"x": x})
    with pytest.raises(DeadlineExceeded):
        await two.call("keep", {"x": x}, deadline=time.monotonic() + 0.05)
    two.service.kept.clear()
    await until_free(two.mine)


@pytest.mark.parametrize("count", [10, LEND + 10])
async def test_a_memoryview_that_is_not_in_one_piece_is_refused(pair: Any, count: int) -> None:
    two = await pair()
    for args in ({"x": memoryview(bytes(count))[::2]}, {"x": [memoryview(bytes(3 * count))[::2]]}):
        with pytest.raises(EncodeError, match=r"args\.x.*: a memoryview whose bytes do not lie in one piece"):
            await two.call("echo", args)
