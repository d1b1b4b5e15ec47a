"""Streams over a real socket pair: order, errors, flow control, leaving early."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from svcd_ipc.channel import IncomingCall, Limits, Stream
from svcd_ipc.connection import STREAM_BYTES
from svcd_ipc.errors import BadResult, InvalidArgument, RemoteError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Counter:
    """Streams numbers, and records how far it came and whether it was closed."""

    def __init__(self, *, error: Exception | None = None, item: Any = None) -> None:
        self.error = error
        self.item = item
        self.produced = 0
        self.closed = trio.Event()

    async def __call__(self, call: IncomingCall) -> Any:
        return call.args if call.api == "echo" else self._count(call.args["n"])

    async def _count(self, n: int) -> AsyncIterator[Any]:
        try:
            for number in range(n):
                self.produced += 1
                yield number if self.item is None else self.item
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


async def test_items_come_in_order_and_the_stream_ends(join: Any) -> None:
    counter = Counter()
    caller, callee = await join(counter)
    assert [item async for item in caller.stream("count", {"n": 1000})] == list(range(1000))
    assert counter.closed.is_set()
    assert (caller.in_flight, callee.serving) == (0, 0)


async def test_an_empty_stream(join: Any) -> None:
    caller, _ = await join(Counter())
    assert [item async for item in caller.stream("count", {"n": 0})] == []


async def test_many_streams_at_once(join: Any) -> None:
    caller, _ = await join(Counter())
    sums = []

    async def consume(n: int) -> None:
        sums.append(sum([item async for item in caller.stream("count", {"n": n})]))

    async with trio.open_nursery() as nursery:
        for n in range(50):
            nursery.start_soon(consume, n)
    assert sorted(sums) == [n * (n - 1) // 2 for n in range(50)]


async def test_an_error_after_three_items_arrives_after_three_items(join: Any) -> None:
    caller, _ = await join(Counter(error=ValueError("no fourth")))
    stream = caller.stream("count", {"n": 3})
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RemoteError, match="ValueError: no fourth"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert caller.in_flight == 0


async def test_an_error_before_the_first_item(join: Any) -> None:
    async def handler(_call: IncomingCall) -> Any:
        raise ServiceUnavailable("Llm: failed")

    caller, _ = await join(handler)
    with pytest.raises(ServiceUnavailable, match="Llm: failed"):
        await anext(caller.stream("tokens", {}))


async def test_a_slow_consumer_holds_up_the_producer(join: Any) -> None:
    counter = Counter()
    caller, callee = await join(counter, limits=Limits(window=8))
    stream = caller.stream("count", {"n": 1000})
    for expected in range(100):
        assert await anext(stream) == expected
        await wait_all_tasks_blocked()
        assert counter.produced <= expected + 1 + 8
    await stream.aclose()
    assert callee.serving <= 1


async def test_large_items_are_bounded_by_bytes(join: Any) -> None:
    item = np.zeros(STREAM_BYTES // 4 // 8)
    counter = Counter(item=item)
    caller, _ = await join(counter)
    stream = caller.stream("count", {"n": 50})
    for taken in range(1, 51):
        assert (await anext(stream)).shape == item.shape
        await wait_all_tasks_blocked()
        assert counter.produced <= taken + 5
    assert [rest async for rest in stream] == []


async def test_an_item_larger_than_the_window_of_bytes_still_goes(join: Any) -> None:
    caller, _ = await join(Counter(item=bytes(STREAM_BYTES + 1)))
    assert [len(item) async for item in caller.stream("count", {"n": 3})] == [STREAM_BYTES + 1] * 3


async def test_leaving_early_closes_the_producer(join: Any) -> None:
    counter = Counter()
    caller, callee = await join(counter)
    stream = caller.stream("count", {"n": 10_000})
    async for item in stream:
        if item == 5:
            break
    await stream.aclose()
    await counter.closed.wait()
    assert caller.in_flight == 0
    assert [item async for item in stream] == []
    assert await caller.call("echo", {"x": 1}) == {"x": 1}
    assert callee.serving == 0


async def test_a_cancelled_consumer_closes_the_producer(join: Any) -> None:
    closed = trio.Event()

    async def handler(_call: IncomingCall) -> Any:
        async def items() -> AsyncIterator[int]:
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                closed.set()

        return items()

    caller, _ = await join(handler)

    async def consume() -> None:
        async for _ in caller.stream("tokens", {}):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await closed.wait()
    assert caller.in_flight == 0


async def test_a_forgotten_stream_closes_the_producer(join: Any) -> None:
    counter = Counter()
    caller, _ = await join(counter)
    stream = caller.stream("count", {"n": 10_000})
    await anext(stream)
    del stream
    gc.collect()
    await counter.closed.wait()
    assert caller.in_flight == 0


async def test_a_stream_that_nobody_started_is_not_sent(join: Any) -> None:
    counter = Counter()
    caller, _ = await join(counter)
    stream = caller.stream("count", {"n": 5})
    await stream.aclose()
    assert [item async for item in stream] == []
    assert counter.produced == 0


async def test_an_item_that_cannot_travel_ends_the_stream_with_its_place(join: Any) -> None:
    counter = Counter(item={"a": [set()]})
    caller, _ = await join(counter)
    with pytest.raises(BadResult, match=r"Classifier/1\.count returned what cannot travel: item\.a\[0\]: a set"):
        await anext(caller.stream("count", {"n": 5}))
    assert counter.closed.is_set()
    assert await caller.call("echo", {}) == {}


async def test_one_value_where_a_stream_was_asked_for(join: Any) -> None:
    caller, _ = await join(Counter())
    with pytest.raises(InvalidArgument, match="echo answers with one value"):
        await anext(caller.stream("echo", {}))


async def test_a_stream_where_one_value_was_asked_for(join: Any) -> None:
    counter = Counter()
    caller, _ = await join(counter)
    with pytest.raises(InvalidArgument, match=r"Classifier/1\.count answers with a stream"):
        await caller.call("count", {"n": 3})
    assert counter.produced == 0


async def test_open_gives_what_the_api_gives(join: Any) -> None:
    caller, _ = await join(Counter())
    assert await caller.open("echo", {"x": 1}) == {"x": 1}
    stream = await caller.open("count", {"n": 3})
    assert isinstance(stream, Stream)
    assert [item async for item in stream] == [0, 1, 2]
    assert [item async for item in await caller.open("count", {"n": 0})] == []


async def test_open_raises_what_the_api_raises_before_its_first_item(join: Any) -> None:
    caller, _ = await join(Counter(error=ValueError("none")))
    with pytest.raises(RemoteError, match="none"):
        await caller.open("count", {"n": 0})


async def test_a_stream_whose_class_is_no_generator(join: Any) -> None:
    class Three:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Three:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    async def handler(_call: IncomingCall) -> Any:
        return Three()

    caller, _ = await join(handler)
    assert [item async for item in caller.stream("three", {})] == [2, 1, 0]


async def test_calls_go_on_beside_a_stream_that_nobody_reads(join: Any) -> None:
    caller, _ = await join(Counter(item=bytes(1000)))
    stream = caller.stream("count", {"n": 10_000})
    await anext(stream)
    for n in range(20):
        assert await caller.call("echo", {"n": n}) == {"n": n}
    await stream.aclose()
