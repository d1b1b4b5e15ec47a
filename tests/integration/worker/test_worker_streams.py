"""Streams between replicas: what a slow side costs the other in memory, and who stops whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from worker_rig import LIMIT, Process, Rig

if TYPE_CHECKING:
    from svcd_ipc.channel import Channel

MIB = 1024 * 1024
MOST_AHEAD = 20
"""Items of 1 MiB that may be on the way: 4 MiB of the stream, what waits in the outbox, and in the sockets."""


def memory(process: Process) -> int:
    """Return the bytes of main memory that a replica holds."""
    return int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("api", ["read", "feed"])
async def test_a_slow_side_bounds_both_and_one_that_leaves_stops_the_other(api: str, box: Rig) -> None:
    slow = await box.up("worker_services:Slow")
    wide = box.one("Wide")
    channel = await box.connect(slow)
    before = memory(slow), memory(wide)
    told: list[int] = []

    async def progress() -> bool:
        last, told[:] = list(told), await channel.call("told", {})
        return last == told and told[3 if api == "feed" else 0] == 3

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.call, api, {})
            while not await progress():  # noqa: ASYNC110  (until nothing moves any more, in other processes)
                await trio.sleep(0.05)
            made = told[0] if api == "feed" else told[2]
            assert 3 <= made <= MOST_AHEAD
            grown = memory(slow) - before[0], memory(wide) - before[1]
            assert max(grown) < 2 * MOST_AHEAD * MIB
            nursery.cancel_scope.cancel()
    assert await channel.call("was_left", {})
    if api == "feed":
        await until_closed(channel)
    after = (await channel.call("told", {}))[2]
    assert (await channel.call("told", {}))[2] == after


async def until_closed(channel: Channel) -> None:
    with trio.fail_after(LIMIT):
        while not (await channel.call("told", {}))[1]:  # noqa: ASYNC110  (it is in another process)
            await trio.sleep(0.01)


async def test_an_error_after_item_3_arrives_after_item_3(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:Slow"))
    assert await channel.call("until_it_fails", {}) == [3, "no item 4"]
