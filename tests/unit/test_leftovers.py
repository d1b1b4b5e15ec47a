"""The patience of tests that hold svcd to its promise: the machine's own slowness is told from svcd's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from leftovers import Deadline, assert_none_left, new_mark


def test_time_that_was_slept_or_used_counts() -> None:
    slept, used = Deadline(60, 0.02), Deadline(60, 0.02)
    slept.sleep(0.03)
    assert slept.is_over
    while not used.is_over:
        pass
    assert used.limit == 0.02


def test_time_in_which_others_had_the_cpu_counts_by_the_clock_alone() -> None:
    by_both, by_clock = Deadline(60, 0.05), Deadline(0.05)
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(0.1)"], {}), 0)
    assert not by_both.is_over
    assert by_clock.is_over


def test_what_outlives_a_promise_is_named() -> None:
    mark = new_mark()
    with subprocess.Popen(["sleep", "60"], env=mark) as process:
        with pytest.raises(AssertionError, match=f"still there: {process.pid} .*sleep 60"):
            assert_none_left(mark, within=Deadline(60, 0.05))
        process.kill()
    assert_none_left(mark)
