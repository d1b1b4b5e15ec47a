"""Rows of batched calls: counted, compared, cut, joined and parted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from svcd.worker.batch_rows import Rows, failure_in
from svcd_ipc.errors import BadResult, InvalidArgument

ROWS = Rows("Model.run", 0, 0)
ACROSS = Rows("Model.run", 1, 0)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    ("rows", "args", "count"),
    [
        (ROWS, {"x": [1, 2, 3]}, 3),
        (ROWS, {"x": []}, 0),
        (ROWS, {"x": np.zeros((4, 2)), "y": ["a"] * 4, "loud": True}, 4),
        (ACROSS, {"x": np.zeros((4, 2)), "y": ["a", "b"]}, 2),
        (ROWS, {"x": (np.zeros((4, 2)), [1, 2, 3, 4])}, 4),
        (ROWS, {"x": [1], "size": (224, 224)}, 1),
    ],
)
def test_rows_are_counted(rows: Rows, args: dict[str, Any], count: int) -> None:
    assert rows.measure(args)[0] == count


@pytest.mark.parametrize(
    ("args", "field", "message"),
    [
        ({}, "args", "an array or a list of rows is needed"),
        ({"x": 3}, "x", "an array or a list of rows is needed"),
        ({"x": np.float32(3)}, "x", "an array or a list of rows is needed"),
        ({"x": [1, 2], "y": [1, 2, 3]}, "y", "3 rows, but x has 2"),
        ({"x": ([1, 2], [1])}, "x", "unlike numbers of rows: [1, 2]"),
    ],
)
def test_calls_without_rows_are_refused(args: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ROWS.measure(args)
    assert caught.value.details[0]["field"] == field
    assert message in caught.value.details[0]["message"]
    assert str(caught.value).startswith(f"Model.run: {field}: ")


def test_an_array_without_the_axis_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"x: an array of shape \(3,\) has no axis 1"):
        ACROSS.measure({"x": np.zeros(3)})


@pytest.mark.parametrize(
    "one",
    [
        {"x": np.zeros((2, 3), np.float32)},
        {"x": np.zeros((2, 4), np.float64)},
        {"x": np.zeros((2, 3), np.float64), "loud": True},
        {"x": np.zeros((2, 3), np.float64), "loud": False},
        {"x": [[1, 2, 3], [4, 5, 6]]},
        {"x": [np.zeros(3)] * 2},
        {"x": [np.zeros(4)] * 2},
        {"x": [np.zeros(3), np.zeros(4)]},
        {"x": [np.zeros(3, np.int8)] * 2},
        {"x": (np.zeros((2, 3)), [1, 2])},
        {"y": np.zeros((2, 3), np.float64)},
    ],
    ids=str,
)
def test_unlike_calls_are_of_another_kind(one: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"x": np.zeros((5, 3), np.float64)}
    assert ROWS.measure(one)[1] != ROWS.measure(plain)[1]
    assert ROWS.measure(one)[1] == ROWS.measure(dict(reversed(one.items())))[1]
    hash(ROWS.measure(one)[1])


def test_options_that_cannot_be_compared_are_unlike() -> None:
    one, other = {"x": [1], "tags": {1}}, {"x": [1], "tags": {1}}
    assert ROWS.measure(one)[1] != ROWS.measure(other)[1]


@pytest.mark.parametrize(
    "args",
    [
        {"x": [1, 2, 3, 4, 5], "loud": True},
        {"x": np.arange(10).reshape(5, 2)},
        {"x": (np.arange(10).reshape(5, 2), list("abcde")), "size": (1, 2)},
    ],
    ids=str,
)
def test_what_is_cut_is_joined_again(args: dict[str, Any]) -> None:
    parts = [ROWS.part(args, start, end) for start, end in ((0, 2), (2, 2), (2, 5))]
    assert [ROWS.measure(part)[0] for part in parts] == [2, 0, 3]
    assert equal(ROWS.join(parts), args)
    assert ROWS.join(parts[:1]) is parts[0]


def test_joined_arrays_cannot_be_written_to() -> None:
    joined = ROWS.join([{"x": np.zeros(2)}, {"x": np.zeros(3)}])
    assert not joined["x"].flags.writeable


@pytest.mark.parametrize(
    ("result", "first", "second"),
    [
        ([1, 2, 3], [1], [2, 3]),
        (np.arange(6).reshape(3, 2), np.array([[0, 1]]), np.array([[2, 3], [4, 5]])),
        (([1, 2, 3], np.arange(3)), ([1], np.array([0])), ([2, 3], np.array([1, 2]))),
        ({"a": [1, 2, 3]}, {"a": [1]}, {"a": [2, 3]}),
    ],
    ids=str,
)
def test_results_are_parted_and_joined_again(result: Any, first: Any, second: Any) -> None:
    parts = ROWS.split(result, [1, 0, 2])
    assert equal(parts[0], first)
    assert equal(parts[2], second)
    assert equal(ROWS.rejoin(parts), result)


def test_results_lie_along_their_own_axis() -> None:
    rows = Rows("Model.run", 0, 1)
    assert [part.shape for part in rows.split(np.zeros((4, 3)), [1, 2])] == [(4, 1), (4, 2)]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([1, 2], "returned 2 rows for a batch of 3"),
        (np.zeros((2, 3)), "returned 2 rows along axis 0 for a batch of 3"),
        (([1, 2, 3], [1]), r"returned 1 rows in \[1\] for a batch of 3"),
        ({"scores": [1]}, r"returned 1 rows in \['scores'\] for a batch of 3"),
        (3, "returned int, which has no rows"),
        (None, "returned NoneType, which has no rows"),
        ((), "returned tuple, which has no rows"),
        ("abc", "returned str, which has no rows"),
        (np.float32(1), "returned float32, which has no rows"),
        (np.array(1), r"returned an array of shape \(\), which has no rows"),
    ],
)
def test_a_wrong_number_of_rows_is_told(result: Any, message: str) -> None:
    with pytest.raises(BadResult, match=f"^Model.run {message}"):
        ROWS.split(result, [1, 2])


def test_a_row_may_be_a_failure() -> None:
    bad = ValueError("bad row")
    assert failure_in([1, bad, 2]) is bad
    assert failure_in(([1], [bad])) is bad
    assert failure_in({"a": [bad]}) is bad
    assert failure_in([1, "ValueError"]) is None
    assert failure_in(np.zeros(3)) is None
