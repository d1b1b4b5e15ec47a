"""Arguments that are streams, over a real socket pair: order, errors, flow control, and ends from both sides."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from svcd_ipc.channel import IncomingCall, Limits
from svcd_ipc.connection import STREAM_BYTES
from svcd_ipc.errors import (
    Busy,
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    RemoteError,
    ReplicaLost,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MARK: ContextVar[str] = ContextVar("mark", default="nowhere")


class Source:
    """Gives numbers, and records how far it came and whether it was closed."""

    def __init__(self, n: int = 10**9, *, error: BaseException | None = None, item: Any = None) -> None:
        self.n = n
        self.error = error
        self.item = item
        self.produced = 0
        self.closed = trio.Event()
        self.mark = ""

    async def items(self) -> AsyncIterator[Any]:
        try:
            for number in range(self.n):
                self.produced += 1
                self.mark = MARK.get()
                yield number if self.item is None else self.item
                await trio.lowlevel.checkpoint()
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


class Taker:
    """Serves calls that take items."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.cancelled = trio.Event()
        self.go_on = trio.Event()
        self.kept: Any = None

    async def __call__(self, call: IncomingCall) -> Any:
        return await getattr(self, call.api)(**call.args)

    async def total(self, items: AsyncIterator[int], times: int = 1) -> int:
        return times * sum([item async for item in items])

    async def both(self, a: AsyncIterator[int], b: AsyncIterator[int]) -> list[list[int]]:
        return [[x, await anext(b)] async for x in a]

    async def first(self, items: AsyncIterator[int]) -> int:
        self.kept = items
        return await anext(items)

    async def none(self, items: AsyncIterator[int]) -> str:
        return "not touched"

    async def leave(self, items: AsyncIterator[int]) -> int:
        item = await anext(items)
        await items.aclose()
        return item + len([rest async for rest in items])

    async def slow(self, items: AsyncIterator[int]) -> int:
        try:
            async for item in items:
                self.taken.append(item)
                await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled.set()
            raise
        return len(self.taken)

    async def echo(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        return self._echo(items)

    async def _echo(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            yield 2 * item

    async def fail(self, items: AsyncIterator[int]) -> None:
        raise ValueError(f"not {await anext(items)}")

    async def plain(self, x: int) -> int:
        return x


async def test_items_come_in_order_and_the_call_answers(join: Any) -> None:
    caller, callee = await join(Taker())
    source = Source(1000)
    assert await caller.call("total", {"times": 2}, inputs={"items": source.items()}) == 999_000
    assert source.closed.is_set()
    assert (caller.in_flight, callee.serving) == (0, 0)
    assert await caller.call("total", {}, inputs={"items": Source(0).items()}) == 0


async def test_two_inputs_side_by_side(join: Any) -> None:
    caller, _ = await join(Taker())
    inputs = {"a": Source(3).items(), "b": Source(5).items()}
    assert await caller.call("both", {}, inputs=inputs) == [[0, 0], [1, 1], [2, 2]]


async def test_many_at_once(join: Any) -> None:
    caller, _ = await join(Taker())
    sums: list[int] = []

    async def call(n: int) -> None:
        sums.append(await caller.call("total", {}, inputs={"items": Source(n).items()}))

    async with trio.open_nursery() as nursery:
        for n in range(50):
            nursery.start_soon(call, n)
    assert sorted(sums) == [n * (n - 1) // 2 for n in range(50)]


async def test_a_stream_in_and_a_stream_out(join: Any) -> None:
    caller, _ = await join(Taker())
    source = Source(500)
    items = caller.stream("echo", {}, inputs={"items": source.items()})
    assert [item async for item in items] == list(range(0, 1000, 2))
    await source.closed.wait()


async def test_a_stream_that_is_left_closes_what_feeds_it(join: Any) -> None:
    caller, _ = await join(Taker())
    source = Source()
    items = caller.stream("echo", {}, inputs={"items": source.items()})
    assert [await anext(items) for _ in range(3)] == [0, 2, 4]
    await items.aclose()
    await source.closed.wait()
    assert await caller.call("plain", {"x": 1}) == 1


async def test_a_slow_callee_holds_up_the_caller(join: Any) -> None:
    taker, source = Taker(), Source()
    caller, _ = await join(taker, limits=Limits(window=8))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def call() -> None:
            await caller.call("slow", {}, inputs={"items": source.items()})

        await wait_all_tasks_blocked()
        assert taker.taken == [0]
        assert source.produced <= 1 + 8
        nursery.cancel_scope.cancel()
    assert source.closed.is_set()


async def test_large_items_are_bounded_by_bytes(join: Any) -> None:
    taker, source = Taker(), Source(item=bytes(STREAM_BYTES // 4))
    caller, _ = await join(taker)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def call() -> None:
            await caller.call("slow", {}, inputs={"items": source.items()})

        await wait_all_tasks_blocked()
        assert source.produced <= 5
        nursery.cancel_scope.cancel()


async def test_a_callee_that_answers_early_stops_the_source(join: Any) -> None:
    taker, source = Taker(), Source()
    caller, _ = await join(taker)
    assert await caller.call("first", {}, inputs={"items": source.items()}) == 0
    assert source.closed.is_set()
    with pytest.raises(CallError, match=r"first\.items: its items can only be taken while the call runs"):
        await anext(taker.kept)


async def test_a_callee_that_leaves_its_input_goes_on(join: Any) -> None:
    caller, _ = await join(Taker())
    assert await caller.call("leave", {}, inputs={"items": Source(5).items()}) == 0


async def test_what_nobody_takes_is_not_touched(join: Any) -> None:
    caller, _ = await join(Taker())
    source = Source(3)
    items = source.items()
    assert await caller.call("none", {}, inputs={"items": items}) == "not touched"
    assert source.produced == 0
    assert [item async for item in items] == [0, 1, 2]


async def test_a_refused_call_has_touched_nothing(join: Any) -> None:
    caller, _ = await join(Taker(), admit=lambda _call: False)
    source = Source(3)
    items = source.items()
    with pytest.raises(Busy):
        await caller.call("total", {}, inputs={"items": items})
    with pytest.raises(Busy):
        await anext(caller.stream("echo", {}, inputs={"items": items}))
    assert [item async for item in items] == [0, 1, 2]


async def test_what_the_source_raises_is_raised_at_the_call_and_cancels_it(join: Any) -> None:
    taker = Taker()
    taker.go_on.set()
    caller, callee = await join(taker)
    with pytest.raises(KeyError, match="lost"):
        await caller.call("slow", {}, inputs={"items": Source(3, error=KeyError("lost")).items()})
    await taker.cancelled.wait()
    with pytest.raises(KeyError, match="lost"):
        async for _ in caller.stream("echo", {}, inputs={"items": Source(3, error=KeyError("lost")).items()}):
            pass
    assert await caller.call("plain", {"x": 1}) == 1
    await wait_all_tasks_blocked()  # the cancelled ones have said so
    assert (caller.in_flight, callee.serving) == (0, 0)


async def test_an_error_of_the_callee_stops_the_source(join: Any) -> None:
    caller, _ = await join(Taker())
    source = Source()
    with pytest.raises(RemoteError, match="not 0"):
        await caller.call("fail", {}, inputs={"items": source.items()})
    assert source.closed.is_set()


async def test_a_cancelled_caller_stops_both(join: Any) -> None:
    taker, source = Taker(), Source()
    caller, _ = await join(taker)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def call() -> None:
            await caller.call("slow", {}, inputs={"items": source.items()})

        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert source.closed.is_set()  # by the time that the caller goes on
    await taker.cancelled.wait()


async def test_the_deadline_stops_both(join: Any, autojump_clock: trio.testing.MockClock) -> None:
    taker = Taker()
    caller, _ = await join(taker, clock=trio.current_time)
    source = Source()
    with pytest.raises(DeadlineExceeded):
        await caller.call("slow", {}, deadline=trio.current_time() + 1, inputs={"items": source.items()})
    assert source.closed.is_set()
    await taker.cancelled.wait()


async def test_a_lost_connection_stops_both(join: Any) -> None:
    taker, source = Taker(), Source()
    caller, callee = await join(taker)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def call() -> None:
            with pytest.raises(ReplicaLost):
                await caller.call("slow", {}, inputs={"items": source.items()})

        await wait_all_tasks_blocked()
        callee.close()
    assert source.closed.is_set()
    await taker.cancelled.wait()


async def test_an_item_that_cannot_travel_is_told_at_the_call(join: Any) -> None:
    taker = Taker()
    caller, _ = await join(taker)
    with pytest.raises(EncodeError, match=r"args\.items: item\.a\[0\]: a set"):
        await caller.call("slow", {}, inputs={"items": Source(item={"a": [set()]}).items()})
    assert await caller.call("plain", {"x": 1}) == 1


async def test_the_source_runs_in_its_callers_context(join: Any) -> None:
    caller, _ = await join(Taker())
    MARK.set("here")
    source = Source(1)
    await caller.call("total", {}, inputs={"items": source.items()})
    assert source.mark == "here"


async def test_an_item_that_cannot_be_read_is_told_with_its_place(join: Any, raw_peer: Any) -> None:
    import msgpack

    from svcd_ipc import frames, messages

    taker = Taker()
    taker.go_on.set()
    _, peer = raw_peer(taker)
    say = [
        [0, "svcd", messages.VERSION, {"service": "Odd"}, []],
        [1, 1, "slow", {}, None, None, 0, 0, ["items"]],
    ]
    await peer.send_all(b"".join(frames.pack(msgpack.packb(message)) for message in say))
    await wait_all_tasks_blocked()
    bad = msgpack.packb([12, 1, 0, msgpack.ExtType(99, b"")])
    await peer.send_all(frames.pack(msgpack.packb([12, 1, 0, 7])) + frames.pack(bad))
    received = b""
    while b"item 2 cannot be read here" not in received:
        received += await peer.receive_some()
    assert taker.taken == [7]
    assert InvalidArgument.code.encode() in received
