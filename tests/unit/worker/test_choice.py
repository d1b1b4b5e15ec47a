"""Which replica gets a call: what is taken for the best without a look at all is the best of all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcd.values.boot import Address
from svcd.worker.choice import BELIEVED, LOOKS, Choice
from svcd.worker.replica_end import ReplicaEnd

PASSED = 2 * BELIEVED
"""Seconds between two steps: long enough that nothing is believed from the step before."""


def replicas(count: int) -> list[ReplicaEnd]:
    return [ReplicaEnd(f"S/{index}", Address("s", "")) for index in range(count)]


def choice_of(ends: list[ReplicaEnd]) -> Choice:
    choice = Choice()
    choice.update(ends)
    return choice


def end_call(choice: Choice, replica: ReplicaEnd, seconds: float, now: float) -> None:
    choice.took(replica, "api", seconds, now)
    replica.give_back(now)
    choice.rested(replica)


@given(
    st.integers(2, 9),
    st.lists(st.tuples(st.sampled_from(("take", "end", "busy", "update")), st.integers(0, 8), st.floats(0.001, 9.0))),
)
def test_the_choice_is_that_of_a_comparison_of_all(count: int, steps: list[tuple[str, int, float]]) -> None:
    ends = replicas(count)
    choice = choice_of(ends)
    now = 100.0
    for step, index, seconds in steps:
        now += PASSED
        replica = ends[index % count]
        if step == "take":
            best = choice._best("api", now)
            assert choice.take("api", now) is best
        elif step == "update":
            choice.update(ends)
        elif replica.in_flight and step == "end":
            end_call(choice, replica, seconds, now)
        elif replica.in_flight:
            replica.refused((1, 0), now)
            replica.give_back(now)
            choice.rested(replica)


def test_idle_ones_take_turns() -> None:
    ends = replicas(3)
    choice = choice_of(ends)
    got = []
    for step in range(6):
        replica = choice.take("api", float(step))
        assert replica is not None
        got.append(replica.id)
        end_call(choice, replica, 0.001, float(step))
    assert got == ["S/0", "S/1", "S/2"] * 2


def test_a_slow_one_is_left_out_though_it_is_idle() -> None:
    ends = replicas(LOOKS + 2)
    choice = choice_of(ends)
    for replica in ends:
        choice.took(replica, "api", 0.001 if replica is ends[-1] else 1.0, 0.0)
    for _ in range(5):
        best = choice.take("api", 0.0)
        assert best is ends[-1]
        end_call(choice, best, 0.001, 0.0)


def test_those_who_are_gone_are_forgotten() -> None:
    ends = replicas(40)
    choice = choice_of(ends)
    for replica in ends[1:]:
        replica.unlist()
    choice.update(ends[:1])
    assert len(choice._idle) == 1
    assert [choice.take("api", 0.0) for _ in range(2)] == [ends[0], ends[0]]
