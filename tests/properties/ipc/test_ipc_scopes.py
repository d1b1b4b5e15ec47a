"""Our way to the deadline of the scopes that a task is in gives what trio's own gives."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

import trio
from hypothesis import given
from hypothesis import strategies as st

from svcd_ipc.scopes import effective_deadline

if TYPE_CHECKING:
    import pytest


class Scope(NamedTuple):
    after: float
    """Seconds to its deadline."""
    shield: bool
    is_cancelled: bool
    is_nursery: bool


SCOPES = st.lists(
    st.builds(
        Scope,
        st.one_of(st.just(inf), st.floats(0, 100)),
        st.booleans(),
        st.sampled_from([False, False, False, True]),
        st.booleans(),
    ),
    max_size=8,
)


async def deadlines(scopes: list[Scope]) -> tuple[float, float]:
    if not scopes:
        return effective_deadline(), trio.current_effective_deadline()
    first, *rest = scopes
    if first.is_nursery:
        async with trio.open_nursery() as nursery:
            return await within(nursery.cancel_scope, first, rest)
    with trio.CancelScope() as scope:
        return await within(scope, first, rest)


async def within(scope: trio.CancelScope, what: Scope, rest: list[Scope]) -> tuple[float, float]:
    scope.deadline = trio.current_time() + what.after
    scope.shield = what.shield
    if what.is_cancelled:
        scope.cancel()
    return await deadlines(rest)


@given(SCOPES)
def test_it_is_what_trio_says(scopes: list[Scope]) -> None:
    own, trios = trio.run(deadlines, scopes)
    assert own == trios


async def test_trios_own_function_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else trio has changed, and calls have become slower without a word."""
    monkeypatch.delattr(trio, "current_effective_deadline")
    deadline = trio.current_time() + 5
    with trio.CancelScope(deadline=deadline):
        assert effective_deadline() == deadline
        await trio.lowlevel.checkpoint()
