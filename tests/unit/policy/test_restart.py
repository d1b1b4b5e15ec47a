"""Backoff and budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcd.policy.restart import BASE, BUDGET, CAP, SPELL, History


def test_the_budget_is_spent_by_failures_in_a_row() -> None:
    history = History()
    for _ in range(BUDGET - 1):
        history = history.failed(None)
    assert not history.spent
    assert history.failed(SPELL - 0.1).spent


def test_a_spell_of_being_ready_forgives_what_was_before() -> None:
    history = History(failures=BUDGET - 1).failed(SPELL)
    assert history == History(failures=1)


def test_what_was_ready_and_was_killed_has_not_failed_of_itself() -> None:
    assert History(failures=BUDGET - 1).failed(0.0, was_killed=True) == History(failures=1)
    assert History(failures=BUDGET - 1).failed(None, was_killed=True).spent, "what never is ready is given up"


def test_the_first_delay_is_short() -> None:
    assert History().failed(None).delay(0.999) <= BASE


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_lies_between_zero_and_its_ceiling(failures: int, chance: float) -> None:
    assert 0 <= History(failures=min(failures, 1000)).delay(chance) <= CAP


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_ceilings_never_shrink(failures: int, chance: float) -> None:
    assert History(failures).delay(chance) <= History(failures + 1).delay(chance)
