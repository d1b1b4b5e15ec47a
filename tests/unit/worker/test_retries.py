"""The retry budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcd.worker.retries import RATIO, RESERVE, RetryBudget


@given(st.lists(st.booleans(), max_size=500))
def test_retries_are_bounded_by_the_reserve_and_a_share_of_the_calls(wants_retry: list[bool]) -> None:
    budget = RetryBudget()
    retries = 0
    for wants in wants_retry:
        budget.deposit()
        retries += wants and budget.withdraw()
    assert retries <= RESERVE + RATIO * len(wants_retry)


def test_a_sick_service_gets_no_more_than_the_share() -> None:
    budget = RetryBudget()
    retries = 0
    for _ in range(10_000):
        budget.deposit()
        retries += budget.withdraw()
    assert retries <= RESERVE + 0.2 * 10_000 + 1
