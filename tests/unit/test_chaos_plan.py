"""Whom the strikes of `svcd chaos` are meant for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from svcd.measure.chaos import Plan, choose

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
