"""Errors keep their type, message and details over the wire, and remote tracebacks show every hop."""

from __future__ import annotations

import traceback

import pytest

from svcd_ipc import errors
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
    from_wire,
    to_wire,
)

PLAIN = [ServiceUnavailable, DeadlineExceeded, Overloaded, ReplicaLost, UnknownApi, BadResult]


def over_the_wire(error: CallError) -> CallError:
    return from_wire(*to_wire(error))


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_errors_keep_type_and_message(kind: type[CallError]) -> None:
    again = over_the_wire(kind("Classifier/0: it is so"))
    assert type(again) is kind
    assert again.message == str(again) == "Classifier/0: it is so"


def test_codes_are_stable() -> None:
    assert {kind.__name__: kind.code for kind in [*PLAIN, InvalidArgument, RemoteError, Busy]} == {
        "ServiceUnavailable": "unavailable",
        "DeadlineExceeded": "deadline",
        "Overloaded": "overloaded",
        "ReplicaLost": "lost",
        "UnknownApi": "unknown_api",
        "BadResult": "bad_result",
        "InvalidArgument": "invalid",
        "RemoteError": "remote",
        "Busy": "busy",
    }


def test_invalid_argument_keeps_its_fields() -> None:
    again = over_the_wire(InvalidArgument("bad", [{"field": "image", "message": "missing"}]))
    assert isinstance(again, InvalidArgument)
    assert again.details == [{"field": "image", "message": "missing"}]


def test_an_unknown_code_is_a_remote_error_that_names_it() -> None:
    again = from_wire("from_the_future", "hm", {})
    assert isinstance(again, RemoteError)
    assert str(again) == "from_the_future: hm"


@pytest.mark.parametrize("details", [{}, {"details": 3}, {"details": None}, {"traceback": 3, "type": []}])
@pytest.mark.parametrize("code", ["invalid", "remote", "busy", "lost", ""])
def test_odd_details_are_survived(code: str, details: dict[str, object]) -> None:
    assert isinstance(from_wire(code, "text", details), CallError)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as found:
        return found


def test_a_remote_error_tells_type_message_and_traceback() -> None:
    again = over_the_wire(RemoteError.of(raised(ValueError("bad picture"))))
    assert isinstance(again, RemoteError)
    assert (again.type_name, again.message) == ("ValueError", "bad picture")
    assert str(again) == "ValueError: bad picture"
    assert "in raised" in again.remote_traceback
    assert "ValueError: bad picture" in again.remote_traceback


def test_printing_a_remote_error_shows_the_remote_traceback() -> None:
    again = over_the_wire(RemoteError.of(raised(ValueError("bad picture"))))
    assert "in raised" in "".join(traceback.format_exception(again))


def test_every_hop_is_in_the_traceback_of_an_error_that_goes_through() -> None:
    def third() -> None:
        raise KeyError("third hop")

    def second(error: CallError) -> None:
        raise error

    try:
        third()
    except KeyError as error:
        at_second = over_the_wire(RemoteError.of(error))
    try:
        second(at_second)
    except RemoteError as error:
        at_first = over_the_wire(error)
    assert isinstance(at_first, RemoteError)
    assert at_first.type_name == "KeyError"
    assert "in third" in at_first.remote_traceback
    assert "in second" in at_first.remote_traceback
    assert at_first.remote_traceback.count("in third") == 1


def test_a_remote_error_as_cause_keeps_its_hop() -> None:
    remote = over_the_wire(RemoteError.of(raised(ValueError("deep"))))
    try:
        try:
            raise remote
        except RemoteError as error:
            raise RuntimeError("while voting") from error
    except RuntimeError as error:
        again = over_the_wire(RemoteError.of(error))
    assert isinstance(again, RemoteError)
    assert again.type_name == "RuntimeError"
    assert "ValueError: deep" in again.remote_traceback
    assert "in raised" in again.remote_traceback


def test_a_type_outside_builtins_is_named_with_its_module() -> None:
    assert RemoteError.of(errors.LocalProtocolError("x")).type_name == "svcd_ipc.errors.LocalProtocolError"


def test_a_broken_str_does_not_hide_the_error() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert RemoteError.of(BrokenError()).message == "<its __str__ raised RuntimeError>"


def test_a_long_traceback_loses_its_middle() -> None:
    error = RemoteError.of(raised(ValueError("x" * 3 * errors.MAX_TRACEBACK)))
    assert len(error.remote_traceback) < errors.MAX_TRACEBACK + 100
    assert "characters left out" in error.remote_traceback
    assert error.remote_traceback.startswith("Traceback")
