"""User exceptions across a hop."""

from __future__ import annotations

import sys

import pytest

from svcd.worker.revive import raise_as_own
from svcd_ipc.errors import CallError, DeadlineExceeded, RemoteError, from_wire, to_wire


class OutOfStockError(Exception):
    """One of the app's own."""

    def __init__(self, item: str, *, left: int) -> None:
        super().__init__(item)
        self.left = left


class Unwilling(Exception):  # noqa: N818 - a name of a user
    """Cannot be made again."""

    def __new__(cls, *_: object) -> Unwilling:  # noqa: PYI034 - it never returns
        raise TypeError("no")


def arrived(error: BaseException) -> CallError:
    return from_wire(*to_wire(RemoteError.of(error)))


def revived(error: BaseException) -> BaseException:
    """What a caller catches."""
    try:
        raise_as_own(error)
    except Exception as own:  # noqa: BLE001 - that is what it is for
        return own
    return error


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - that is what it is for
        return caught


def test_an_error_of_the_app_arrives_as_itself_with_its_attributes_and_its_remote_traceback() -> None:
    own = revived(arrived(raised(OutOfStockError("bolts", left=3))))
    assert isinstance(own, OutOfStockError)
    assert own.args == ("bolts",)
    assert own.left == 3
    assert isinstance(own.__cause__, RemoteError)
    assert "OutOfStockError: bolts" in own.__cause__.remote_traceback


def test_two_hops_keep_the_type_and_both_tracebacks() -> None:
    first = revived(arrived(raised(OutOfStockError("bolts", left=3))))
    second = revived(arrived(raised(first)))
    assert isinstance(second, OutOfStockError)
    assert str(second.__cause__.__notes__).count("OutOfStockError: bolts") >= 2


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), StopIteration(1), UnicodeError("z")])
def test_errors_of_the_standard_library_stay_remote(error: Exception) -> None:
    assert isinstance(revived(arrived(error)), RemoteError)


def test_a_class_that_is_not_imported_here_stays_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    told = arrived(OutOfStockError("bolts", left=3))
    monkeypatch.delitem(sys.modules, __name__)
    assert isinstance(revived(told), RemoteError)
    assert __name__ not in sys.modules


@pytest.mark.parametrize("state", [object(), {1: 2}, [{"deep": object()}], 2**70])
def test_what_cannot_travel_leaves_a_remote_error(state: object) -> None:
    error = OutOfStockError("bolts", left=1)
    error.left = state  # type: ignore[assignment]  # the wrong type is the point
    assert isinstance(revived(arrived(error)), RemoteError)


def test_a_class_that_cannot_be_made_again_stays_remote() -> None:
    told = arrived(OutOfStockError("bolts", left=1))
    assert isinstance(told, RemoteError)
    assert told.origin is not None
    told.origin = told.origin._replace(qualname="Unwilling")
    assert revived(told) is told


@pytest.mark.parametrize(
    "origin", [None, 3, [], ["os", "system", ["true"], {}], ["subprocess", "Popen", [["true"]], {}], ["x", 1, [], {}]]
)
def test_a_peer_cannot_have_anything_else_made(origin: object) -> None:
    told = from_wire("remote", "boom", {"type": "X", "traceback": "", "origin": origin})
    assert revived(told) is told


def test_typed_errors_are_left_alone() -> None:
    error = DeadlineExceeded("late")
    assert revived(error) is error
