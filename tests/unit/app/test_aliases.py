"""Aliases in annotations are what they stand for. Python 3.12 makes them with `type`, typing_extensions before that."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from typing_extensions import TypeAliasType

import svcd
from svcd.app.aliases import unaliased
from svcd.app.schemas import schemas_of

A = TypeVar("A")
B = TypeVar("B")

Rows = TypeAliasType("Rows", npt.NDArray[np.float32])
Named = TypeAliasType("Named", dict[str, A], type_params=(A,))
Swapped = TypeAliasType("Swapped", dict[B, A], type_params=(A, B))
Same = TypeAliasType("Same", A, type_params=(A,))
Late = TypeAliasType("Late", "int | list[Late]")
Told = TypeAliasType("Told", Literal["a", "b"])


class RecursiveType:
    """What Python 3.12 makes of `type Json = int | list[Json]`."""

    __type_params__ = ()

    def __repr__(self) -> str:
        return "Json"

    @property
    def __value__(self) -> Any:
        return int | list[JSON]  # type: ignore[valid-type]  # a value, as it is there


RecursiveType.__name__ = "TypeAliasType"
JSON: Any = RecursiveType()


@svcd.service
class Sums:
    @svcd.api
    def add(self, rows: Rows, more: list[Rows] | None = None) -> Named[int]: ...


@pytest.mark.parametrize(
    ("annotation", "meant"),
    [
        (int, int),
        (Named[int], dict[str, int]),
        (list[Named[int]] | None, list[dict[str, int]] | None),
        (Annotated[Named[Same[int]], "note"], Annotated[dict[str, int], "note"]),
        (Swapped[int, str], dict[str, int]),
        (Same[list[int]], list[int]),
        (Told, Literal["a", "b"]),
        (Late, Late),
        (list[Late], list[Late]),
        (JSON, int | list[JSON]),
    ],
    ids=str,
)
def test_what_one_stands_for(annotation: Any, meant: Any) -> None:
    assert unaliased(annotation) == meant


def test_arrays_behind_one_are_arrays() -> None:
    schema = schemas_of(Sums, "Sums")["add"]
    given = schema.validate({"rows": [1, 2], "more": [[3]]})
    assert (given["rows"].dtype, given["more"][0].dtype) == (np.float32, np.float32)
    with pytest.raises(svcd.InvalidArgument, match="rows: an array of complex64 is no array of float32"):
        schema.validate({"rows": np.ones(1, "c8")})
    assert schema.rebuild is None, "a dict of str and int travels as itself"
