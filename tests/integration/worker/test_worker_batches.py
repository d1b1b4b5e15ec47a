"""Batches in a replica of its own process, with callers on connections of their own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
from worker_rig import LIMIT, Rig, until, until_health

if TYPE_CHECKING:
    from pathlib import Path


async def test_64_callers_are_run_together_and_get_their_own_rows(box: Rig) -> None:
    process = await box.up("worker_services:Batched", Batched={"max_concurrency": 128})
    channels = [await box.connect(process) for _ in range(4)]

    async def calls(number: int) -> None:
        for index in range(20):
            row = 100 * number + index
            assert await channels[number % 4].call("double", {"x": [row]}) == [2 * row]

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(calls, number)
    sizes = [len(batch) for batch in await channels[0].call("seen", {})]
    assert sum(sizes) == 64 * 20
    assert sum(sizes) / len(sizes) >= 32, sizes


async def test_rows_of_many_sizes_come_back_to_whose_they_are(box: Rig) -> None:
    process = await box.up("worker_services:Batched", Batched={"max_concurrency": 128})
    channels = [await box.connect(process) for _ in range(4)]

    async def calls(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - the same sizes each time
        for index in range(8):
            rows = [1000 * number + 100 * index + row for row in range(chance.choice((0, 1, 2, 7, 64, 90)))]
            assert await channels[number % 4].call("double", {"x": rows}) == [2 * row for row in rows]

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for number in range(24):
                nursery.start_soon(calls, number)
    batches = await channels[0].call("seen", {})
    assert max(map(len, batches)) <= 64
    assert any(len({row // 1000 for row in batch}) > 2 for batch in batches)  # they did share


async def test_who_leaves_is_not_in_the_next_batch(box: Rig, notes: Path) -> None:
    process = await box.up("worker_services:Batched")
    channel, leaving = await box.connect(process), await box.connect(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.call, "hold", {"x": [0]})
        await until((notes / "held-0").exists)
        nursery.start_soon(channel.call, "hold", {"x": [1]})
        async with trio.open_nursery() as inner:
            inner.start_soon(channel.call, "hold", {"x": [2]})
            inner.start_soon(_until_lost, leaving)
            await until_health(process, {"in_flight": 1, "queued": 3, "threads_stuck": 0})
            leaving.close()
            await until_health(process, {"in_flight": 1, "queued": 2, "threads_stuck": 0})
            inner.cancel_scope.cancel()
        await until_health(process, {"in_flight": 1, "queued": 1, "threads_stuck": 0})
        (notes / "go-on").touch()
    assert await channel.call("seen", {}) == [[0], [1]]


async def _until_lost(channel: trio.abc.AsyncResource) -> None:
    from svcd_ipc.errors import CallError

    with pytest.raises(CallError):
        await channel.call("hold", {"x": [3]})
