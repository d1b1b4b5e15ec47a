"""Loops of calls: what is begun when, what is counted from when, and what percentiles are."""

from __future__ import annotations

import time
from array import array

import trio
from hypothesis import given
from hypothesis import strategies as st

from svcd.measure.figures import Load, percentile, summary
from svcd.measure.loops import Loop
from svcd_ipc.errors import Overloaded


async def test_an_open_loop_begins_calls_though_none_is_answered() -> None:
    begun = 0
    all_begun = trio.Event()

    async def call() -> int:
        nonlocal begun
        begun += 1
        if begun == 20:
            all_begun.set()
        await all_begun.wait()
        return 0

    loop = Loop(Load(seconds=0.1, warm_up=0, rate=200), call, time.monotonic)
    await loop.run()
    waits = list(loop.tally.latencies)
    assert len(waits) == 20
    assert max(waits) > min(waits)
    # The first call was due a tenth of a second before the last, less the 1/200 s between two, and waited for it.
    assert max(waits) >= 19 / 200


async def test_a_closed_loop_has_so_many_in_flight(autojump_clock: trio.testing.MockClock) -> None:
    now = most = 0

    async def call() -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(0.1)
        now -= 1
        return 3

    loop = Loop(Load(seconds=1, warm_up=0.5, in_flight=4), call, trio.current_time)
    assert await loop.run() == 1
    assert most == 4
    assert len(loop.tally.latencies) == 4 * 10
    assert loop.tally.items == 4 * 10 * 3


async def test_errors_are_counted_by_type_and_told_once(autojump_clock: trio.testing.MockClock) -> None:
    async def call() -> int:
        await trio.sleep(0.5)
        raise Overloaded("Words.split: 3 calls wait\nmore")

    load = Load(seconds=1, warm_up=0, in_flight=2)
    loop = Loop(load, call, trio.current_time)
    told = summary(load, loop.tally, await loop.run())
    assert told["errors"] == {"Overloaded": {"calls": 4, "first": "Words.split: 3 calls wait"}}
    assert (told["answered"], told["calls"], told["latency_ms"]) == (0, 4, None)


async def test_stopped_early_it_has_the_figures_so_far(autojump_clock: trio.testing.MockClock) -> None:
    async def call() -> int:
        await trio.sleep(1)
        return 0

    loop = Loop(Load(seconds=3600, warm_up=0), call, trio.current_time)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop() -> None:
            await trio.sleep(2.5)
            loop.stop()

        assert await loop.run() == 2.5
    assert len(loop.tally.latencies) == 2


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.1, 100))
def test_so_many_values_are_at_most_the_percentile(values: list[float], percent: float) -> None:
    ordered = array("d", sorted(values))
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= len(ordered) * percent / 100 - 1e-9
    assert sum(value < found for value in ordered) < len(ordered) * percent / 100 + 1e-9
