"""Which arguments of a call are iterators, and so streams, and which are values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUES = frozenset((str, int, float, bool, bytes, list, dict, type(None)))
"""Types of most arguments, which are no iterators."""


def has_iterators(named: Mapping[str, Any]) -> bool:
    """Whether an argument is an iterator; quick where none is, as every call asks."""
    for value in named.values():  # noqa: SIM110 - a generator costs three times as much
        if type(value) not in _VALUES and is_iterator(value):
            return True
    return False


def is_iterator(value: Any) -> bool:
    """Whether an argument is a stream of items, and no value."""
    kind = type(value)
    return hasattr(kind, "__anext__") or hasattr(kind, "__aiter__") or hasattr(kind, "__next__")
