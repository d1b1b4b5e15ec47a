"""Whom the strikes of `svcd chaos` are meant for, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from svcd.measure.chaos import Chaos, Plan, choose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

PLAN = Plan("kill", ("Work",), every=1.0, seconds=60.0, seed=1, settle=1.0)
STATES = {f"Work/{index}": "ready" for index in range(4)}


@given(seed=st.integers(), number=st.integers(0, 1000))
def test_a_seed_tells_who_is_struck(seed: int, number: int) -> None:
    plan = replace(PLAN, seed=seed)
    assert choose(plan, number, STATES) == choose(plan, number, dict(STATES)) in STATES


def test_all_are_struck_in_the_long_run() -> None:
    assert {choose(PLAN, number, STATES) for number in range(100)} == set(STATES)


@given(number=st.integers(0, 1000), up=st.sets(st.sampled_from(sorted(STATES))))
def test_who_is_not_up_passes_it_on_to_the_next(number: int, up: set[str]) -> None:
    states = {name: "ready" if name in up else "starting" for name in STATES}
    meant, hit = choose(PLAN, number, STATES), choose(PLAN, number, states)
    assert meant is not None
    if meant in up:
        assert hit == meant
    else:
        after = [*[*states][[*states].index(meant) :], *states]
        assert hit == next((name for name in after if name in up), None)


def test_nobody_is_there() -> None:
    assert choose(PLAN, 0, {}) is None


class ToldLate:
    """Plays a daemon whose news of a strike arrives after that of what became of it: both were on their way at once."""

    def __init__(self) -> None:
        self.heard = trio.Event()
        self.states = iter(("ready", "ready", "unready"))
        """What it says of its one replica, one after the other."""

    async def call(self, _api: str, _args: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"service": "Work", "replica": 0, "state": next(self.states)}]

    def stream(self, api: str, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        return self.events() if api == "events" else self.strike()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        about = {"service": "Work", "replica": 0, "reason": ""}
        yield about | {"generation": 1, "state": "backoff", "at": 2.25}
        self.heard.set()
        await trio.sleep_until(5.0)
        yield about | {"generation": 2, "state": "ready", "at": 4.0}
        await trio.sleep_forever()

    async def strike(self) -> AsyncIterator[dict[str, Any]]:
        await self.heard.wait()
        yield {"struck": {"service": "Work", "replica": 0, "generation": 1, "pid": 7, "connections": None, "at": 2.0}}


async def test_times_are_those_of_the_daemon_in_whatever_order_its_news_arrives(autojump_clock: MockClock) -> None:
    plan = replace(PLAN, every=10.0, seconds=1.0, settle=60.0)
    chaos = Chaos(ToldLate(), plan, lambda *_: None, clock=trio.current_time)  # type: ignore[arg-type]  # see its docstring
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(chaos.follow)
        await chaos.run()
        nursery.cancel_scope.cancel()
    (struck,) = chaos.strikes
    assert (struck.at, struck.noticed, struck.back) == (2.0 - began, 0.25, 2.0)
    assert chaos.figures()["lacking"] == [], "it was ready again, whatever it is a moment later"
