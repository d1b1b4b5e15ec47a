"""What is said of clocks, disks and limits, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from svcd.policy.condition import LOW_DISK, happened, troubles
from svcd.values.condition import Condition, Disk

WELL = Condition(
    wall=1e9,
    awake=100.0,
    boot=100.0,
    descriptors=20,
    most_descriptors=1024,
    tasks=300,
    most_tasks=32768,
    disks={"/logs": Disk(free=10 * LOW_DISK)},
)


def later(seconds: float, *, stepped: float = 0.0, slept: float = 0.0) -> Condition:
    passed = seconds + slept
    return replace(WELL, wall=WELL.wall + passed + stepped, awake=WELL.awake + seconds, boot=WELL.boot + passed)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (later(2.0), []),
        (later(2.0, stepped=0.001), []),
        (later(2.0, stepped=3600), ["the clock was set forward by 3600 s; times in logs jump, limits do not"]),
        (later(2.0, stepped=-90), ["the clock was set back by 90 s; times in logs jump, limits do not"]),
        (later(2.0, slept=300), ["the machine slept for 300 s; deadlines and limits did not run meanwhile"]),
    ],
)
def test_what_befell_the_clocks(now: Condition, said: list[str]) -> None:
    assert happened(WELL, now) == said


def test_a_clock_that_is_set_while_the_machine_sleeps_is_both() -> None:
    slept, stepped = happened(WELL, later(1.0, slept=60, stepped=5))
    assert slept.startswith("the machine slept for 60 s")
    assert stepped.startswith("the clock was set forward by 5 s")


def test_what_is_wrong() -> None:
    assert troubles(WELL) == {}
    assert troubles(replace(WELL, most_tasks=0, most_descriptors=0)) == {}
    low = troubles(replace(WELL, disks={"/logs": Disk(free=LOW_DISK - 1)}))
    assert low == {"disk of /logs": "the disk of /logs has 16Mi left"}
    assert list(troubles(replace(WELL, disks={"/logs": Disk(free=None)})).values()) == ["/logs is gone"]
    read_only = replace(WELL, disks={"/logs": Disk(free=10 * LOW_DISK, is_read_only=True)})
    assert list(troubles(read_only).values()) == ["/logs can only be read"]
    unwritten = troubles(replace(WELL, unwritten={"/logs/daemon.log": "No space left on device"}))
    assert list(unwritten.values()) == ["/logs/daemon.log cannot be written (No space left on device): lines are lost"]
    assert "921 of 1024 descriptors" not in str(troubles(replace(WELL, descriptors=921)))
    assert "922 of 1024 descriptors" in troubles(replace(WELL, descriptors=922))["descriptors"]
    assert "32000 of 32768 processes" in troubles(replace(WELL, tasks=32000))["tasks"]
