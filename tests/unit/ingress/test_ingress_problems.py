"""Errors as HTTP shows them."""

from __future__ import annotations

import json

import pytest

import svcd.tasks.errors as task_errors
import svcd_ipc.errors as errors_module
from svcd.ingress.problems import STATUSES, problem_of, refuse
from svcd_ipc.errors import (
    BadResult,
    Busy,
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    Overloaded,
    RemoteError,
    ReplicaLost,
    ServiceUnavailable,
    UnknownApi,
)

PRIVATE = "the patient is called Ada"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("text: missing", [{"field": "text", "message": "missing"}]), 400),
        (Overloaded("the waiting room of Mood is full"), 429),
        (Busy(), 429),
        (ReplicaLost("Mood/0 ended"), 502),
        (ServiceUnavailable("Mood failed"), 503),
        (DeadlineExceeded("60 s are over"), 504),
        (RemoteError("ValueError", PRIVATE, f"Traceback ...\n{PRIVATE}"), 500),
        (BadResult("Mood.score returned a set, which cannot travel"), 500),
        (UnknownApi("Words has no api 'spilt'"), 500),  # of a dependency: the ingress has looked up the entry's own
        (RuntimeError(PRIVATE), 500),
    ],
)
def test_status_and_body_of_each_error(error: Exception, status: int) -> None:
    problem = problem_of(error)
    body = json.loads(problem.body())["error"]
    assert problem.status == status
    assert body["code"] == getattr(error, "code", "internal")
    assert PRIVATE not in problem.body().decode()
    assert ("id" in body) == (status == 500)
    assert dict(problem.headers).keys() <= {b"retry-after"}
    assert (b"retry-after" in dict(problem.headers)) == (status in (429, 503))


def test_bad_input_names_its_fields() -> None:
    details = [{"field": "text", "message": "missing"}]
    assert json.loads(problem_of(InvalidArgument("1 argument is wrong", details)).body()) == {
        "error": {"code": "invalid", "message": "1 argument is wrong", "details": details}
    }


def test_details_that_json_does_not_know_are_shown_all_the_same() -> None:
    problem = problem_of(InvalidArgument("no", [{"field": "image", "input": b"\x89PNG"}]))
    assert json.loads(problem.body())["error"]["details"][0]["input"] == str(b"\x89PNG")


def test_two_failures_have_two_ids() -> None:
    first, second = (problem_of(RuntimeError("x")).extra["id"] for _ in range(2))
    assert first != second


def test_a_refusal_carries_its_own_problem() -> None:
    error = refuse(405, "method", "read it with GET", allow="GET, HEAD")
    assert problem_of(error) is error.problem
    assert dict(error.problem.headers) == {b"allow": b"GET, HEAD"}


def test_every_status_is_of_a_code_that_exists() -> None:
    codes = {
        kind.code
        for kind in (*vars(errors_module).values(), *vars(task_errors).values())
        if isinstance(kind, type) and issubclass(kind, CallError)
    }
    assert STATUSES.keys() <= codes


@pytest.mark.parametrize("kind", [DeadlineExceeded, ReplicaLost, ServiceUnavailable, BadResult])
def test_messages_name_the_api_and_not_what_carried_the_call(kind: type[CallError]) -> None:
    for carrier in ("svcd.http", "svcd.asgi"):
        problem = problem_of(kind(f"Top/0.{carrier}: no answer"), "/classify")
        assert problem.message == "Top/0.classify: no answer"
