"""What each app of graph_shapes must answer, whichever way it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

import svcd


class Driver(Protocol):
    """A running app. `service` is a name; errors are svcd's."""

    def call(self, service: str, api: str, /, **args: Any) -> Any: ...

    def stream(self, service: str, api: str, /, **args: Any) -> list[Any]:
        """Return all items; what was taken before an error is in its attribute `items`."""


@dataclass(frozen=True)
class Case:
    """One call and what comes of it: a value, the items of a stream, or an error."""

    app: str
    api: str
    args: dict[str, Any] = field(default_factory=dict)
    gives: Any = None
    streams: list[Any] | None = None
    raises: type[Exception] | None = None
    saying: tuple[str, ...] = ()
    """Texts within the message, or within the remote traceback."""
    service: str = ""
    """The service to call; the app's entry unless given."""

    def __str__(self) -> str:
        args = ",".join(f"{name}={value!r:.20}" for name, value in self.args.items())
        return f"{self.service or self.app}.{self.api}({args})"


CASES = [
    Case("Sequential", "run", {"x": 3}, gives=7),
    Case("Sequential", "run_plainly", {"x": 3}, gives=7),
    Case("Sequential", "run", {"x": 3}, gives=6, service="Double"),
    Case("Mixed", "async_to_def", {"x": 3}, gives=6),
    Case("Mixed", "def_to_def", {"x": 3}, gives=6),
    Case("Mixed", "def_to_async", {"x": 3}, gives=6),
    Case("Mixed", "through_a_name", {"x": 3}, gives=7),
    Case("Mixed", "started", gives=[42, 8]),
    Case("Mixed", "block_the_loop", raises=svcd.RemoteError, saying=("await self.plain.to_async.run(",)),
    Case("Diamond", "together", gives=1),
    Case("Diamond", "together_plainly", gives=1),
    Case("Diamond", "in_a_nursery", gives=1),
    Case("Streams", "squares", {"n": 5}, streams=[0, 1, 4, 9, 16]),
    Case("Streams", "squares", {"n": 0}, streams=[]),
    Case("Streams", "squares", {"n": 300}, streams=[i * i for i in range(300)]),
    Case("Streams", "squares_plainly", {"n": 5}, streams=[0, 1, 4, 9, 16]),
    Case("Streams", "fail_at", {"n": 2}, streams=[0, 1], raises=svcd.RemoteError, saying=("no 2 here", "fail_at")),
    Case("Streams", "squares", {"n": "x"}, streams=[], raises=svcd.InvalidArgument, saying=("n",)),
    Case(
        "Streams",
        "unsendable",
        streams=[0, 1],
        raises=svcd.BadResult,
        saying=(
            "Numbers",
            ".unsendable returned what cannot travel: item.scores[1]: a set",
        ),
        service="Numbers",
    ),
    Case(
        "Streams",
        "unsendable_plainly",
        streams=[0, 1],
        raises=svcd.BadResult,
        saying=(
            "Numbers",
            ".unsendable_plainly returned what cannot travel: item.scores[1]: a set",
        ),
        service="Numbers",
    ),
    Case("Streams", "after_an_unsendable_item", gives=0),
    Case(
        "Streams",
        "unsendable_argument",
        streams=[0],
        raises=svcd.RemoteError,
        saying=("EncodeError: Numbers", ".upto: args.n: a set", "in unsendable_argument"),
    ),
    Case("Streams", "leave_early", gives=0),
    Case("Streams", "leave_early_plainly", gives=0),
    Case(
        "Errors",
        "fail",
        {"kind": "odd"},
        raises=svcd.RemoteError,
        saying=("OddError", "three is odd", "graph_shapes/failures.py"),
    ),
    Case("Errors", "fail", {"kind": "typed"}, raises=svcd.InvalidArgument, saying=("kind: no",)),
    Case("Errors", "fail", {"kind": "exit"}, raises=svcd.RemoteError, saying=("SystemExit",)),
    Case("Errors", "fail", {"kind": "other"}, raises=svcd.RemoteError, saying=("KeyError", "other")),
    Case("Errors", "fail_plainly", raises=svcd.RemoteError, saying=("plainly", "in fail_plainly")),
    Case("Errors", "caught", gives="OddError: three is odd"),
    Case("Errors", "first_of_two", raises=svcd.RemoteError, saying=("OddError",)),
    Case("Errors", "unsendable", raises=svcd.BadResult, saying=("unsendable", "lock")),
    Case(
        "Errors",
        "unsendable_argument",
        raises=svcd.RemoteError,
        saying=("EncodeError: Failing", ".fail: args.kind: a set"),
    ),
    Case("Errors", "misspelt", raises=svcd.RemoteError, saying=("no api 'fial'; did you mean 'fail'?",)),
    Case("Types", "area", {"width": 4}, gives=6.0),
    Case("Types", "area", {"width": "4"}, gives=6.0),
    Case("Types", "area", raises=svcd.InvalidArgument, saying=("width: Field required",)),
    Case("Types", "area", {"width": 4, "height": 1}, raises=svcd.InvalidArgument, saying=("height: Extra",)),
    Case("Types", "kinds", gives=["Box", "tuple"]),
    Case(
        "Types", "grow", {"box": {"width": 1, "labels": []}, "by": 2}, gives={"width": 3, "labels": []}, service="Boxes"
    ),
    Case("Types", "wrong", raises=svcd.InvalidArgument, saying=("box.width", "box.labels.0", "depth")),
    Case("Arrays", "run", gives=[[200, 300], "float32", float((np.arange(60_000, dtype=np.float32) * 2).sum()), False]),
    Case("Arrays", "spoil", raises=svcd.RemoteError, saying=("read-only",)),
    Case("Arrays", "echo", {"values": np.arange(3)}, gives=np.arange(3)),
    Case("Arrays", "echo", {"values": [[1, 2], [3, 4]]}, gives=np.array([[1, 2], [3, 4]])),
    Case("Arrays", "echo", {"values": "pixels"}, raises=svcd.InvalidArgument, saying=("values",)),
    Case("Deadlines", "too_slow", raises=svcd.DeadlineExceeded, saying=("Slow", "sleep")),
    Case("Deadlines", "too_slow_plainly", raises=svcd.DeadlineExceeded, saying=("Slow", "sleep")),
    Case("Deadlines", "shrinking", gives=True),
    Case("Crowd", "rush", {"calls": 5}, gives=[1] * 5),
    Case(
        "Batches",
        "squares",
        {"sizes": [3, 0, 40, 1]},
        gives=[[x * x for x in range(n * 100, n * 100 + k)] for n, k in enumerate([3, 0, 40, 1])],
    ),
    Case("Batches", "squares", {"x": [[1, 2], [3, 4]]}, gives=np.array([[1, 4], [9, 16]]), service="Model"),
    Case("Batches", "squares", {"x": 3}, raises=svcd.InvalidArgument, saying=("Model.squares: x: ",), service="Model"),
    Case("Batches", "shared_runs", gives=True),
    Case("Batches", "lengths", gives=[[[f"n{n}"] * n, [2.0 * n * (-1) ** n] * n] for n in range(1, 5)]),
    Case("Batches", "one_is_bad", {"api": "roots"}, gives=["2.0", "2.0", "2.0", "-1.0 has no root", "2.0"]),
    Case("Batches", "one_is_bad", {"api": "lengths"}, gives=["n0", "n1", "n2", "a bad name in 1", "n4"]),
    Case("Batches", "too_few", raises=svcd.BadResult, saying=("Model.too_few returned 2 rows for a batch of 3",)),
    Case("Inputs", "total", {"n": 1000}, gives=[999000, 499500, 3]),
    Case("Inputs", "total_plainly", {"n": 100}, gives=[4950, 4950]),
    Case("Inputs", "running", {"n": 4}, streams=[0, 1, 3, 6]),
    Case("Inputs", "running_plainly", {"n": 4}, streams=[0, 1, 3, 6]),
    Case("Inputs", "passed_on", {"items": [1, 2, 3]}, gives=6),
    Case("Inputs", "passed_on", {"items": 3}, raises=svcd.InvalidArgument, saying=("items: ",)),
    Case("Inputs", "bounded", gives=[[0, 1, 2], True, True]),
    Case("Inputs", "failing", raises=svcd.RemoteError, saying=("OddError: no 3 here", "in count")),
    Case("Inputs", "cancelled", gives=[True, True]),
    Case("Asyncio", "together", {"x": 3}, gives=[8, 6, 8, 10, 12, 1]),
    Case("Asyncio", "plainly", {"x": 3}, gives=12),
    Case("Asyncio", "squares", {"n": 5}, streams=[0, 1, 4, 9, 16]),
    Case("Asyncio", "leave_early", gives=0),
    Case("Asyncio", "total", {"items": [1, 2]}, gives=3),
    Case("Asyncio", "pass_on", {"n": 100}, gives=4950),
    Case("Asyncio", "fail", {"kind": "odd"}, raises=svcd.RemoteError, saying=("OddError: three is odd", "in fail")),
    Case("Asyncio", "fail", {"kind": "typed"}, raises=svcd.InvalidArgument, saying=("Failing.fail: kind: no",)),
    Case("Asyncio", "first_of_two", raises=svcd.RemoteError, saying=("OddError",)),
    Case("Asyncio", "too_slow", raises=svcd.DeadlineExceeded, saying=("Slow", "sleep")),
    Case("Asyncio", "timed_out", gives="timed out"),
    Case("Asyncio", "block_the_loop", raises=svcd.RemoteError, saying=("would block the asyncio loop",)),
    Case("AboveAsyncio", "squares", {"n": 4}, streams=[0, 1, 4, 9]),
    Case("AboveAsyncio", "together", {"x": 3}, gives=[8, 6, 8, 10, 12, 1]),
    Case("Loops", "together", {"n": 5}, gives=[0.0, 0.5, 1.0, 1.5, 2.0]),
    Case("Loops", "squares", {"n": 4}, streams=[0, 1, 4, 9]),
    Case("Loops", "plainly", {"x": 1}, gives="Ticks 1.0"),
    Case("Loops", "half", {"x": 3}, gives=1.5),
    Case("Inputs", "wrong_item", raises=svcd.InvalidArgument, saying=("Sums.total: items.0: ",)),
]


def check(case: Case, driver: Driver) -> None:
    """Run one case and assert what comes of it."""
    run = driver.call if case.streams is None else driver.stream
    error: Exception | None = None
    value: Any = None
    try:
        value = run(case.service or case.app, case.api, **case.args)
    except Exception as raised:
        # An error of the app's own type arrives as itself where the caller knows the type, caused by the remote error.
        error = raised if isinstance(raised, svcd.CallError) else raised.__cause__  # type: ignore[assignment]  # an Exception
        value = getattr(raised, "items", None)
        if error is None:
            raise
    if case.raises is None:
        assert error is None, error
    else:
        assert type(error) is case.raises, error
        told = f"{error}\n{getattr(error, 'remote_traceback', '')}"
        assert [text for text in case.saying if text not in told] == []
    expected = case.gives if case.streams is None else case.streams
    if isinstance(expected, np.ndarray):
        assert not value.flags.writeable
        np.testing.assert_array_equal(value, expected)
    else:
        assert plain(value) == expected


def plain(value: Any) -> Any:
    """Return a result without the types that only a caller who knows the callee's class gets."""
    from svcd_ipc.codec import transfer

    return transfer(value)
