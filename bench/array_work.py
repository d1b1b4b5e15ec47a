"""The work on a large array, the same for all contenders: each side reads all of it, the callee makes a new one."""

from __future__ import annotations

from typing import Any

import numpy as np


def make(size: int) -> tuple[np.ndarray, int]:
    """Return an array of `size` bytes and the sum of its items."""
    array = np.arange(size // 4, dtype=np.int32) % 1000
    return array, total(array)


def total(array: np.ndarray) -> int:
    """Return the exact sum."""
    return int(array.sum(dtype=np.int64))


def plus_one(array: np.ndarray, expected: int) -> np.ndarray:
    """Be the callee's work. Raises ValueError when what came is not what was sent."""
    if total(array) != expected:
        raise ValueError("the array has changed on its way")
    return array + np.int32(1)


def is_plus_one(answer: Any, array: np.ndarray, expected: int) -> bool:
    """Check the answer, as the caller does."""
    return total(np.asarray(answer)) == expected + len(array)
