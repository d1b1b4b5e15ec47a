"""The lifecycle table is total, and its paths lead where they should."""

from __future__ import annotations

import pytest

from svcd.policy.lifecycle import TABLE, Action, Happening, State, step


def test_every_pair_of_state_and_happening_is_written_down() -> None:
    assert set(TABLE) == set(State)
    for state, row in TABLE.items():
        assert set(row) == set(Happening), state


def test_every_state_but_pending_is_entered_from_another_one() -> None:
    entered = {t.state for state, row in TABLE.items() for t in row.values() if t and t.state is not state}
    assert entered == set(State)


def test_every_action_is_used() -> None:
    used = {transition.action for row in TABLE.values() for transition in row.values() if transition}
    assert used == set(Action)


def test_nothing_leaves_stopped() -> None:
    assert all(step(State.STOPPED, happening) is None for happening in Happening)


@pytest.mark.parametrize("state", [state for state in State if state not in {State.STOPPED, State.DRAINING}])
def test_stop_leads_to_draining_from_everywhere(state: State) -> None:
    transition = step(state, Happening.STOP)
    assert transition is not None
    assert transition.state is State.DRAINING


@pytest.mark.parametrize("state", [state for state in State if state not in {State.STARTING, State.UNREADY}])
def test_only_a_replica_with_a_process_becomes_ready(state: State) -> None:
    assert step(state, Happening.READY) is None


def test_a_new_attempt_waits_until_the_old_process_is_gone() -> None:
    # In backoff the alarm is set by WAIT_RETRY alone, and that follows GONE.
    assert step(State.BACKOFF, Happening.GONE) == (State.BACKOFF, Action.WAIT_RETRY)
    setters = [state for state, row in TABLE.items() for t in row.values() if t and t.action is Action.WAIT_RETRY]
    assert setters == [State.BACKOFF]
