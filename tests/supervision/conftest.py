"""A replica that is being started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from scripted_keeper import World

from svcd.policy.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock


@pytest.fixture
async def world(nursery: trio.Nursery, autojump_clock: MockClock) -> Iterator[World]:
    world = World()
    world.began = trio.current_time()
    world.replica.begin()
    nursery.start_soon(world.replica.run)
    await trio.testing.wait_all_tasks_blocked()
    assert world.replica.state is State.STARTING
    return world
