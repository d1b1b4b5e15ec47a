"""What a result may be at its outermost, by its api's annotation: what can be told of every result at no cost.

An annotation whose values travel as themselves (`int`, `list[str]`, an array) is checked so far and no further: what is
inside a list of a million numbers is taken on trust. One whose values are made anew where they arrive (a dataclass, a
model, an enum) is checked whole there, by `ApiSchema.rebuild`.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections import abc
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from svcd.app.annotations import is_array, is_plain, is_tensor
from svcd_ipc.errors import BadResult

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Any], Any]

_KINDS: dict[Any, tuple[type, ...]] = {
    None: (type(None),),
    type(None): (type(None),),
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
    bytes: (bytes, bytearray, memoryview),
    list: (list, tuple),
    abc.Sequence: (list, tuple),
    dict: (dict,),
    abc.Mapping: (dict,),
    abc.MutableMapping: (dict,),
    date: (date,),
    datetime: (datetime,),
    time: (time,),
    timedelta: (timedelta,),
}
"""What may stand for each plain annotation; a tuple arrives as a list."""
_SURE = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict))
"""Types whose values are no iterators and no views, and so may be known by their type alone."""
_NUMBERS = {bool: "b", int: "iu", float: "iuf"}
"""The kinds of numpy scalars that are as good as these."""


def check_of(annotation: Any, title: str) -> Check | None:
    """Return what gives a result back if it is of the annotated kind, and raises BadResult if not.

    None where there is nothing to check: any kind will do, or the result is checked where it arrives.
    """
    kinds = kinds_of(annotation)
    if kinds is None:
        return None
    exact, numbers = frozenset(kinds), "".join(_NUMBERS.get(kind, "") for kind in kinds)

    def check(value: Any) -> Any:
        if type(value) in exact or isinstance(value, kinds) or _is_scalar(value, numbers):
            return bytes(value) if type(value) is memoryview else value  # a large one would arrive as a view
        told = inspect.formatannotation(annotation)
        raise BadResult(f"{title} returned a {_name(type(value))}, where its annotation says {told}")

    return check


def sure_kinds_of(annotation: Any) -> frozenset[type]:
    """Return the types of which a result is certain to pass: most results, and at the cost of one look."""
    kinds = kinds_of(annotation)
    return _SURE if kinds is None else _SURE.intersection(kinds)


def kinds_of(annotation: Any) -> tuple[type, ...] | None:
    """Return the classes that a result of a plain annotation is of; None where it may be anything, or is not plain."""
    if annotation is Any or annotation is object or not is_plain(annotation):
        return None
    origin, arms = typing.get_origin(annotation), typing.get_args(annotation)
    if is_array(annotation):
        return (origin or annotation, sys.modules["numpy"].generic)  # a scalar is an array without dimensions
    if origin is Annotated:
        return kinds_of(arms[0])
    if origin is typing.Literal:
        return tuple({type(value) for value in arms})
    if origin in (typing.Union, types.UnionType):
        found = [kinds_of(arm) for arm in arms]
        return None if None in found else tuple(kind for kinds in found if kinds for kind in kinds)
    return (annotation,) if is_tensor(annotation) else _KINDS.get(origin or annotation)


def _is_scalar(value: Any, numbers: str) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 and value.dtype.kind in numbers


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
