"""When a start counts as ready: what is needed has to be up, and to stay so where it has failed before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from test_app import Scene, running, service

from svcd.policy.lifecycle import Happening, State
from svcd.runtime.outcome import STEADY

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


async def test_what_was_ready_once_and_is_down_again_holds_up_the_app(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        await scene.say("Base/0", Happening.READY)
        scene.keeper.end("Base/0#1", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.replica("Base/0").state is State.BACKOFF
        await scene.say("Top/0", Happening.READY)
        assert not scene.app.outcome.ready.is_set()


async def test_what_has_failed_counts_once_it_stays_ready(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A program whose start is its readiness is ready in every turn of its crash loop."""
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        base = scene.replica("Base/0")
        for generation in (1, 2, 3):
            await scene.say("Base/0", Happening.READY)
            scene.keeper.end(f"Base/0#{generation}", 1)
            await trio.testing.wait_all_tasks_blocked()
            await scene.say("Top/0", Happening.READY)
            while base.state is not State.STARTING:
                await base.news.wait()
            assert not scene.app.outcome.ready.is_set()
        began = trio.current_time()
        await scene.say("Base/0", Happening.READY)
        assert not scene.app.outcome.ready.is_set()
        await scene.app.outcome.ready.wait()
        assert STEADY <= trio.current_time() - began < 3 * STEADY


async def test_one_that_is_not_wanted_any_longer_holds_up_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        await scene.say("Base/0", Happening.READY)
        scene.app.scale("Base", 0)
        await scene.say("Base/0", Happening.DRAINED)
        await scene.say("Top/0", Happening.READY)
        assert scene.app.outcome.ready.is_set()
