"""The ingress's log lines."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from svcd.ingress.log import QUIET, Log
from svcd.ingress.problems import problem_of
from svcd_ipc.errors import InvalidArgument, Overloaded, RemoteError, ReplicaLost

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def write(out: io.StringIO, clock: Clock) -> Callable[[Exception], str]:
    log = Log(out, clock)

    def write(error: Exception) -> str:
        out.seek(0)
        out.truncate()
        log.problem("POST /score", problem_of(error), error)
        return out.getvalue()

    return write


def test_every_line_of_a_remote_traceback_carries_the_id_the_client_got(out: io.StringIO) -> None:
    error = RemoteError("ValueError", "bad", "Traceback (most recent call last):\n  File ...\nValueError: bad\n")
    problem = problem_of(error)
    Log(out).problem("POST /score", problem, error)
    mark = f"error {problem.extra['id']}: "
    assert out.getvalue().splitlines() == [
        f"{mark}500 remote: POST /score: ValueError: bad",
        f"{mark}Traceback (most recent call last):",
        f"{mark}  File ...",
        f"{mark}ValueError: bad",
    ]


def test_a_bug_of_ours_is_logged_with_its_own_traceback(write: Callable[[Exception], str]) -> None:
    try:
        raise KeyError("oops")
    except KeyError as error:
        text = write(error)
    assert "KeyError: 'oops'" in text.splitlines()[0]
    assert __file__ in text


def test_the_client_s_own_mistakes_are_not_logged(write: Callable[[Exception], str]) -> None:
    assert write(InvalidArgument("no")) == ""


def test_refusals_of_one_kind_are_logged_once_in_a_while(write: Callable[[Exception], str], clock: Clock) -> None:
    assert write(Overloaded("full")) == "429 overloaded: POST /score: full\n"
    assert write(Overloaded("full")) == ""
    assert write(Overloaded("full")) == ""
    assert write(ReplicaLost("Mood/0 ended")) == "502 lost: POST /score: Mood/0 ended\n"
    clock.now += QUIET
    assert write(Overloaded("full")) == "429 overloaded: POST /score: full (and 2 more since the last such line)\n"
