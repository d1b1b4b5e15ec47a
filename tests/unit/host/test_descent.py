"""A keeper's mark reaches everything that it starts, and differs from that of any other keeper."""

from __future__ import annotations

import resource
import subprocess
import sys

from svcd.host.descent import Mark, mark_of

_MARKED = "from svcd.host.descent import mark_descendants, mark_of; mark_descendants(); print(mark_of('self')){then}"


def said(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split("\n")


def keeper_of(text: str) -> int:
    return int(text.partition("keeper=")[2].rstrip(")"))


def test_it_outlives_an_exec_an_empty_environment_and_a_new_session() -> None:
    scrub = "import os, sys; sys.stdout.flush(); os.setsid(); os.execve('/bin/cat', ['cat', '/proc/self/limits'], {})"
    mark, *limits = said(_MARKED.format(then="") + f"; {scrub}")
    shown = next(line.split() for line in limits if line.startswith("Max realtime timeout"))
    assert shown[3:5] == [str(keeper_of(mark))] * 2, "soft and hard"


def test_keepers_below_each_other_have_marks_of_their_own() -> None:
    inner = _MARKED.format(then="")
    run = f"; import subprocess, sys; sys.stdout.flush(); subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    first, second, _ = said(_MARKED.format(then=run))
    assert (1 << 32) <= keeper_of(first) - keeper_of(second) < 1 << 49


def test_what_a_keeper_starts_has_its_number() -> None:
    mark = Mark(7, (1 << 62) - (1 << 40))
    soft, hard = mark.rlimits["rttime"]
    with subprocess.Popen(["sleep", "1000"]) as one:
        resource.prlimit(one.pid, resource.RLIMIT_RTTIME, (soft, hard))
        assert mark_of(one.pid) == mark
        one.kill()


def test_a_limit_that_somebody_means_is_no_mark_and_is_left_alone() -> None:
    program = "import resource; resource.setrlimit(resource.RLIMIT_RTTIME, (9, 9)); "
    assert said(program + _MARKED.format(then=""))[0] == "None"
    assert mark_of(1 << 23) is None, "there is no such process"
