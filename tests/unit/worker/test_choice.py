"""Which replica gets a call: what is taken for the best without a look at all is the best of all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcd.values.boot import Address
from svcd.worker.choice import BELIEVED, LOOKS, STRAY, Choice
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
            stray_at = choice._stray_at
            best = choice._longest_ago("api", now) or choice._best("api", now)
            choice._stray_at = stray_at
            assert choice.take("api", now) is best
        elif step == "update":
            choice.update(ends)
        elif replica.in_flight and step == "end":
            end_call(choice, replica, seconds, now)
        elif replica.in_flight:
            replica.refused((1, 0), now)
            replica.give_back(now)
            choice.rested(replica)


def turns(choice: Choice, count: int, *, now: float, fails: frozenset[str] = frozenset()) -> list[str]:
    """The replicas of so many calls, one after the other; those named answer with an error, or not at all."""
    got = []
    for _ in range(count):
        replica = choice.take("api", now)
        assert replica is not None
        got.append(replica.id)
        if replica.id not in fails:
            choice.took(replica, "api", 0.001, now)
        replica.give_back(now)
        choice.rested(replica)
    return got


def test_new_ones_are_tried_and_then_the_warmest_is_taken() -> None:
    choice = choice_of(replicas(3))
    assert turns(choice, 6, now=0.0) == ["S/0", "S/1", "S/2", "S/2", "S/2", "S/2"]


def test_two_at_once_are_the_two_warmest() -> None:
    choice = choice_of(replicas(4))
    turns(choice, 4, now=0.0)
    for _ in range(5):
        pair = [choice.take("api", 0.0) for _ in range(2)]
        assert {replica.id for replica in pair if replica} == {"S/2", "S/3"}
        for replica in pair:
            assert replica is not None
            end_call(choice, replica, 0.001, 0.0)


def test_one_that_fails_at_once_does_not_draw_calls_to_itself() -> None:
    choice = choice_of(replicas(3))
    assert turns(choice, 9, now=0.0, fails=frozenset({"S/2"})) == ["S/0", "S/1", "S/2", *["S/1"] * 6]
    # Nor does the warmest one, from the call on that fails.
    assert turns(choice, 4, now=0.5, fails=frozenset({"S/1", "S/2"})) == ["S/1", "S/0", "S/0", "S/0"]


def test_where_all_fail_they_take_turns() -> None:
    choice = choice_of(replicas(3))
    everyone = frozenset({"S/0", "S/1", "S/2"})
    assert turns(choice, 7, now=0.0, fails=everyone) == ["S/0", "S/1", "S/2"] * 2 + ["S/0"]


def test_once_in_a_while_the_one_whose_turn_is_longest_ago_becomes_the_warmest() -> None:
    choice = choice_of(replicas(3))
    got = turns(choice, 3, now=0.0)
    for step in range(5):
        got += turns(choice, 3, now=(step + 1) * STRAY)
    assert got == ["S/0", "S/1", "S/2", *[f"S/{step % 3}" for step in range(5) for _ in range(3)]]


def test_callers_that_start_at_different_ones_grow_warm_to_different_ones() -> None:
    warmest = []
    for start in range(3):
        choice = Choice(start)
        choice.update(replicas(3))
        warmest.append(turns(choice, 5, now=0.0)[-1])
    assert sorted(warmest) == ["S/0", "S/1", "S/2"]


def test_one_that_is_new_is_tried_at_once_and_the_others_keep_their_places() -> None:
    ends = replicas(3)
    choice = choice_of(ends[:2])
    assert turns(choice, 3, now=0.0) == ["S/0", "S/1", "S/1"]
    choice.update(ends)
    assert turns(choice, 3, now=0.0) == ["S/2", "S/2", "S/2"]
    choice.update(ends[:2])
    assert turns(choice, 2, now=0.0) == ["S/1", "S/1"]


def test_a_slow_one_is_left_out_though_it_is_idle() -> None:
    ends = replicas(LOOKS + 2)
    choice = choice_of(ends)
    for replica in ends:
        choice.took(replica, "api", 0.001 if replica is ends[-1] else 1.0, 0.0)
    for _ in range(5):
        best = choice.take("api", 0.0)
        assert best is ends[-1]
        end_call(choice, best, 0.001, 0.0)


def test_one_that_is_slower_by_less_than_a_cold_one_costs_stays_the_warmest() -> None:
    """Else a moment in which the machine is busy sends the calls through all of them, and each begins cold."""
    choice = choice_of(replicas(40))
    got = []
    for call in range(240):
        replica = choice.take("api", 0.0)
        assert replica is not None
        got.append(replica.id)
        end_call(choice, replica, 25e-6 if call < 140 else 150e-6, 0.0)
    assert got == [f"S/{min(call, 39)}" for call in range(240)]


def test_those_who_are_gone_are_forgotten() -> None:
    ends = replicas(40)
    choice = choice_of(ends)
    for replica in ends[1:]:
        replica.unlist()
    choice.update(ends[:1])
    assert len(choice._idle) == 1
    assert [choice.take("api", 0.0) for _ in range(2)] == [ends[0], ends[0]]
