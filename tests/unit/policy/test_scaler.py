"""Replicas follow the load: up at once, down after a window without need, always within the bounds."""

from __future__ import annotations

from math import ceil, inf

from hypothesis import given
from hypothesis import strategies as st

from svcd.policy.autoscaling import Bounds, Decision, Scaler, decide, wanted

BOUNDS = Bounds(least=1, most=4, target=8, window=60.0)


def noted(scaler: Scaler, calls: int, replicas: int, now: float) -> Decision | None:
    scaler.note(calls, now)
    return decide([scaler], replicas)


def test_the_rule() -> None:
    assert [wanted(calls, BOUNDS) for calls in (0, 1, 8, 9, 16, 17, 32, 33, 1000)] == [1, 1, 1, 2, 2, 3, 4, 4, 4]


def test_up_at_once_with_the_numbers() -> None:
    assert noted(Scaler(BOUNDS), 20, 1, 0.0) == Decision(3, "20 calls in flight and waiting, 8 per replica")


def test_down_only_after_the_window_and_to_the_most_that_was_needed() -> None:
    scaler = Scaler(BOUNDS)
    noted(scaler, 32, 1, 0.0)
    assert noted(scaler, 10, 4, 1.0) is None
    assert scaler.next_look == 61.0
    assert noted(scaler, 0, 4, 30.0) is None
    assert noted(scaler, 0, 4, 60.9) is None
    scaler.pass_by(61.0)
    assert decide([scaler], 4) == Decision(2, "at most 10 calls in flight and waiting for 60 s, 8 per replica")
    assert scaler.next_look == 90.0
    scaler.pass_by(90.0)
    assert decide([scaler], 2) == Decision(1, "at most 0 calls in flight and waiting for 60 s, 8 per replica")
    assert scaler.next_look == inf


def test_a_lull_shorter_than_the_window_costs_nothing() -> None:
    scaler = Scaler(BOUNDS)
    noted(scaler, 32, 1, 0.0)
    for start in range(0, 500, 50):
        assert noted(scaler, 0, 4, start + 1.0) is None
        assert noted(scaler, 32, 4, start + 50.0) is None


def test_services_that_share_a_process_get_what_the_neediest_needs() -> None:
    busy, idle = Scaler(BOUNDS), Scaler(Bounds(least=1, most=4, target=1, window=60.0))
    busy.note(1, 0.0)
    idle.note(3, 0.0)
    assert decide([busy, idle], 1) == Decision(3, "3 calls in flight and waiting, 1 per replica")
    idle.note(0, 1.0)
    busy.note(9, 2.0)
    for scaler in (busy, idle):
        scaler.pass_by(61.0)
    assert decide([busy, idle], 3) == Decision(2, "at most 9 calls in flight and waiting for 60 s, 8 per replica")


@given(
    st.lists(st.tuples(st.floats(0.01, 50), st.integers(0, 60)), min_size=1, max_size=60),
    st.integers(1, 3),
    st.integers(0, 5),
    st.integers(1, 10),
    st.floats(0.5, 100),
)
def test_as_the_maximum_of_the_window_says(
    reports: list[tuple[float, int]], least: int, more: int, target: int, window: float
) -> None:
    """The model looks at the whole history; what a report said was needed until the next one."""
    bounds = Bounds(least=least, most=least + more, target=target, window=window)
    scaler, now, replicas = Scaler(bounds), 0.0, least
    history: list[tuple[float, int]] = [(now, least)]
    for pause, calls in reports:
        now += pause
        history.append((now, min(bounds.most, max(least, ceil(calls / target)))))
        ends = [when for when, _ in history[1:]] + [inf]
        most = max(need for (_, need), end in zip(history, ends, strict=True) if end + window > now)
        decision = noted(scaler, calls, replicas, now)
        expected = history[-1][1] if history[-1][1] > replicas else min(most, replicas)
        replicas = decision.replicas if decision else replicas
        assert replicas == expected
        assert least <= replicas <= bounds.most
        assert scaler.next_look > now
