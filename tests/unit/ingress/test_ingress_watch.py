"""A watch begins for what lasts, and never for what is over before."""

from __future__ import annotations

import trio
import trio.testing

from svcd.ingress.watch import TICK, Watch


class Action:
    """Counts how often it has begun and ended."""

    def __init__(self) -> None:
        self.begun = self.over = 0

    async def __call__(self) -> None:
        self.begun += 1
        try:
            await trio.sleep_forever()
        finally:
            self.over += 1


async def test_what_is_soon_over_has_no_task(autojump_clock: trio.testing.MockClock) -> None:
    watch, action = Watch(), Action()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        for _ in range(20):
            watching = watch.over(action)
            await trio.sleep(TICK / 3)
            watching.end()
        await trio.sleep(1)
        assert action.begun == 0
        assert repr(watch) == "<Watch [0 soon]>"
        nursery.cancel_scope.cancel()


async def test_what_lasts_is_watched_until_its_end(autojump_clock: trio.testing.MockClock) -> None:
    watch, action = Watch(), Action()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(1)  # idle before
        watchings = [watch.over(action) for _ in range(3)]
        await trio.sleep(2 * TICK + 0.001)
        assert action.begun == 3
        await watchings[0].until_ended()
        assert action.over == 1
        watchings[1].end()
        await trio.testing.wait_all_tasks_blocked()
        assert action.over == 2
        nursery.cancel_scope.cancel()
    assert action.over == 3


async def test_one_that_ends_by_itself_can_be_ended(autojump_clock: trio.testing.MockClock) -> None:
    watch, seen = Watch(), []

    async def action() -> None:
        seen.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        watching = watch.over(action)
        await trio.sleep(1)
        await watching.until_ended()
        watching.end()
        assert len(seen) == 1
        nursery.cancel_scope.cancel()
