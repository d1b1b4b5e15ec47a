"""What a worker notes on its page, as its daemon reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from svcd.values import pulse as page
from svcd.worker.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock


class Loop:
    """Stands for an asyncio loop; what it is asked waits while it is held up."""

    def __init__(self) -> None:
        self.is_held_up = False
        self._waiting: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def soon(self, function: Callable[..., object], *args: Any) -> bool:
        self._waiting.append((function, args))
        if not self.is_held_up:
            self.turn()
        return True

    def turn(self) -> None:
        self.is_held_up = False
        while self._waiting:
            function, args = self._waiting.pop(0)
            function(*args)


class Idle:
    def stuck_since(self, now: float) -> float:
        return 0.0


class Service:
    threads = Idle()

    def __init__(self, side: Loop | None = None) -> None:
        self.side = side


class Box:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = Loop()
        self.pulse = Pulse(str(path), clock=trio.current_time)

    def read(self) -> page.Pulse:
        found = page.read(self.path.read_bytes())
        assert found is not None
        return found

    async def beat(self) -> None:
        await self.pulse.beat(1.0, lambda: [Service(), Service(self.loop)])


@pytest.fixture
async def box(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> Box:
    box = Box(tmp_path / "x.pulse")
    nursery.start_soon(box.beat)
    await trio.sleep(3.5)
    return box


async def test_the_latest_deadline_until_all_calls_are_over(autojump_clock: MockClock, box: Box) -> None:
    box.pulse.begin(20.0)
    box.pulse.begin(10.0)
    assert box.read().busy_until == 20.0
    box.pulse.end()
    assert box.read().busy_until == 20.0, "never earlier than the truth"
    box.pulse.end()
    assert box.read().busy_until == 0.0


async def test_a_call_that_came_after_its_loop_was_held_up_is_no_excuse(autojump_clock: MockClock, box: Box) -> None:
    box.pulse.begin(5.0)
    box.loop.is_held_up = True
    await trio.sleep(2)
    turned = box.read().side_turned
    box.pulse.begin(60.0)
    assert box.read().busy_until == 5.0
    await trio.sleep(2)
    assert box.read().side_turned == turned
    assert box.read().busy_until == 5.0


async def test_it_counts_once_the_loop_turns_again(autojump_clock: MockClock, box: Box) -> None:
    box.pulse.begin(5.0)
    box.loop.is_held_up = True
    await trio.sleep(2)
    box.pulse.begin(60.0)
    box.loop.turn()
    await trio.sleep(1)
    assert box.read().busy_until == 60.0


async def test_it_does_not_count_when_it_is_over_by_then(autojump_clock: MockClock, box: Box) -> None:
    box.loop.is_held_up = True
    await trio.sleep(2)
    box.pulse.begin(60.0)
    box.pulse.end()
    box.loop.turn()
    await trio.sleep(1)
    assert box.read().busy_until == 0.0
