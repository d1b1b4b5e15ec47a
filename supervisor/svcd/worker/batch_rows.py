"""The rows of a batched call: how many, of what kind, joined for the kernel and parted again. Pure.

An argument has rows when it is an array or a tensor (along the batch axis), a list, or a tuple of those. Any other
argument is an option: calls with unlike options, like calls with unlike dtypes or shapes beside the batch axis, are not
of one kind.
Neither numpy nor torch is ever imported here: where there are arrays, numpy is loaded.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from svcd_ipc.codec import encode
from svcd_ipc.errors import BadResult, EncodeError, InvalidArgument
from svcd_ipc.tensors import is_tensor

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Args = dict[str, Any]


class Rows:
    """How the rows of one api lie in its arguments and results.

    Args:
        title: Service and api, for messages.
        axis_in: Batch axis of arrays among the arguments.
        axis_out: Batch axis of arrays among the results.
    """

    def __init__(self, title: str, axis_in: int, axis_out: int) -> None:
        self.title = title
        self.axis_in = axis_in
        self.axis_out = axis_out

    def __repr__(self) -> str:
        return f"<Rows of {self.title} [{self.axis_in} -> {self.axis_out}]>"

    def measure(self, args: Args) -> tuple[int, Hashable]:
        """Return (number of rows, kind) of a call. Raises InvalidArgument naming the argument at fault."""
        counts: dict[str, int] = {}
        kind: list[Hashable] = []
        for name, value in args.items():
            if has_rows(value):
                counts[name] = self._count(name, value)
                kind.append((name, self._likeness(value)))
            else:
                kind.append((name, _sameness(value)))
        if not counts:
            raise self._invalid(next(iter(args), "args"), "an array or a list of rows is needed to make a batch of")
        name, rows = next(iter(counts.items()))
        for other, count in counts.items():
            if count != rows:
                raise self._invalid(other, f"{count} rows, but {name} has {rows}")
        return rows, tuple(sorted(kind, key=lambda part: part[0]))  # type: ignore[index]  # pairs, by name

    def part(self, args: Args, start: int, end: int) -> Args:
        """Return the arguments with only these rows."""
        return {
            name: _slice(value, start, end, self.axis_in) if has_rows(value) else value for name, value in args.items()
        }

    def join(self, calls: Sequence[Args]) -> Args:
        """Return the arguments of one call with the rows of all; they are of one kind."""
        if len(calls) == 1:
            return calls[0]
        return {
            name: _join([args[name] for args in calls], self.axis_in) if has_rows(value) else value
            for name, value in calls[0].items()
        }

    def split(self, result: Any, counts: Sequence[int]) -> list[Any]:
        """Return each call's rows of a batch's result. Raises BadResult unless it has a row for each row given."""
        given = sum(counts)
        self._check(result, given, "")
        parts, start = [], 0
        for count in counts:
            parts.append(_slice(result, start, start + count, self.axis_out))
            start += count
        return parts

    def rejoin(self, parts: Sequence[Any]) -> Any:
        """Return one result of the results of a call's pieces."""
        return parts[0] if len(parts) == 1 else _join(parts, self.axis_out)

    def _count(self, name: str, value: Any) -> int:
        if isinstance(value, tuple):
            counts = {self._count(name, part) for part in value}
            if len(counts) > 1:
                raise self._invalid(name, f"its parts have unlike numbers of rows: {sorted(counts)}")
            return counts.pop()
        if isinstance(value, list):
            return len(value)
        if value.ndim <= self.axis_in:
            raise self._invalid(name, f"an array of shape {value.shape} has no axis {self.axis_in}, the batch's")
        return int(value.shape[self.axis_in])

    def _likeness(self, value: Any) -> Hashable:
        if isinstance(value, tuple):
            return tuple(map(self._likeness, value))
        if isinstance(value, list):
            # Arrays as rows of a list are for kernels that stack them, which takes like ones.
            return frozenset((str(row.dtype), row.shape) for row in value if is_array(row))
        return str(value.dtype), value.shape[: self.axis_in], value.shape[self.axis_in + 1 :]

    def _check(self, result: Any, rows: int, place: str) -> None:
        if isinstance(result, tuple | dict) and result:
            parts = result.items() if isinstance(result, dict) else enumerate(result)
            for key, part in parts:
                self._check(part, rows, f"{place}[{key!r}]")
            return
        if isinstance(result, list):
            found, along = len(result), ""
        elif is_array(result) and result.ndim > self.axis_out:
            found, along = int(result.shape[self.axis_out]), f" along axis {self.axis_out}"
        else:
            what = f"an array of shape {result.shape}" if is_array(result) else type(result).__name__
            raise BadResult(
                f"{self.title} returned {what}{_at(place)}, which has no rows to give back to their callers;"
                " a batchable api returns an array, a list, or a tuple or dict of those"
            )
        if found != rows:
            raise BadResult(
                f"{self.title} returned {found} rows{along}{_at(place)} for a batch of {rows};"
                " a batchable api returns one row for each row it is given"
            )

    def _invalid(self, name: str, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self.title}: {name}: {message}", details=[{"field": name, "message": message}])


def has_rows(value: Any) -> bool:
    """Whether an argument is cut and joined by rows."""
    if isinstance(value, tuple):
        return bool(value) and all(map(has_rows, value))
    return isinstance(value, list) or (is_array(value) and value.ndim > 0)


def is_array(value: Any) -> bool:
    """Whether a value is a numpy array, or a tensor, which is an array in all that matters here."""
    numpy = sys.modules.get("numpy")
    return (numpy is not None and isinstance(value, numpy.ndarray)) or is_tensor(value)


def _sameness(option: Any) -> Hashable:
    """Return what is equal for equal options; one that cannot be compared is like none but itself."""
    try:
        return encode(option)
    except EncodeError:
        return id(option)


def failure_in(result: Any) -> BaseException | None:
    """Return the first row of a call's result that is an exception: that row has failed, and with it the call."""
    if isinstance(result, tuple | dict):
        failures = map(failure_in, result.values() if isinstance(result, dict) else result)
        return next((failure for failure in failures if failure is not None), None)
    if isinstance(result, list):
        return next((row for row in result if isinstance(row, Exception)), None)
    return None


def _slice(value: Any, start: int, end: int, axis: int) -> Any:
    if isinstance(value, list):
        return value[start:end]
    if isinstance(value, tuple):
        return tuple(_slice(part, start, end, axis) for part in value)
    if isinstance(value, dict):
        return {key: _slice(part, start, end, axis) for key, part in value.items()}
    return value[(*(slice(None),) * axis, slice(start, end))]


def _join(values: Sequence[Any], axis: int) -> Any:
    first = values[0]
    if isinstance(first, list):
        return [row for value in values for row in value]
    if isinstance(first, tuple):
        return tuple(_join(parts, axis) for parts in zip(*values, strict=True))
    if isinstance(first, dict):
        return {key: _join([value[key] for value in values], axis) for key in first}
    if is_tensor(first):
        return sys.modules["torch"].cat(values, axis)
    joined = sys.modules["numpy"].concatenate(values, axis)
    joined.flags.writeable = False  # as every array that an api is given
    return joined


def _at(place: str) -> str:
    return f" in {place}" if place else ""
