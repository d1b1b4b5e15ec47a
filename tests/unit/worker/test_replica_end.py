"""What a caller knows of a replica: how long its calls take, and for how long that is believed."""

from __future__ import annotations

import pytest

from svcd.values.boot import Address
from svcd.worker.replica_end import FORGET, STALE, ReplicaEnd


@pytest.fixture
def end() -> ReplicaEnd:
    return ReplicaEnd("S/0", Address("s", ""))


def test_nothing_is_known_at_first(end: ReplicaEnd) -> None:
    assert end.pace("classify", 0.0) == 0.0


def test_the_pace_is_a_mean_of_each_api(end: ReplicaEnd) -> None:
    end.took("classify", 1.0, 0.0)
    end.took("ping", 0.001, 0.0)
    end.took("classify", 2.0, 0.0)
    assert end.pace("classify", 0.0) == pytest.approx(1.2)
    assert end.pace("ping", 0.0) == pytest.approx(0.001)


def test_who_was_slow_is_tried_again_after_a_while(end: ReplicaEnd) -> None:
    end.took("classify", 1.0, 10.0)
    assert end.pace("classify", 10.0 + FORGET) == pytest.approx(0.5)
    assert end.pace("classify", 10.0 + 4 * FORGET) == pytest.approx(1 / 16)


def test_one_call_that_takes_long_counts_as_twice_the_mean_at_most(end: ReplicaEnd) -> None:
    for seconds in (1.0, 1.0, 1000.0):
        end.took("classify", seconds, 0.0)
    assert end.pace("classify", 0.0) == pytest.approx(1.2)
    for _ in range(3):
        end.took("classify", 1000.0, 0.0)
    assert end.pace("classify", 0.0) == pytest.approx(1.2**4)


def test_the_call_that_warms_an_api_up_counts_until_there_is_another(end: ReplicaEnd) -> None:
    end.took("classify", 1000.0, 0.0)
    assert end.pace("classify", 0.0) == 1000.0
    end.took("classify", 1.0, 0.0)
    assert end.pace("classify", 0.0) == 1.0


def test_a_pace_is_no_measure_for_others_for_ever(end: ReplicaEnd) -> None:
    assert end.measured("classify", 0.0) == 0.0
    end.took("classify", 1.0, 0.0)
    assert end.measured("classify", STALE) == 1.0
    assert end.measured("classify", STALE + 1) == 0.0
