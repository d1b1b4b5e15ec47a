"""The work of the array benchmark without a hop, and what copying as many bytes costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import array_work
import numpy as np
from load import loop_blocking

if TYPE_CHECKING:
    from load import Order


class Session:
    """No servers at all."""

    up = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `array` (the work of both sides) and `memcpy` (one copy of as many bytes)."""
        array, expected = array_work.make(order.size)
        if order.what == "memcpy":
            target = np.zeros_like(array)  # touched, so that no page fault is measured

            def call() -> bool:
                np.copyto(target, array)
                return True
        else:

            def call() -> bool:
                return array_work.is_plus_one(array_work.plus_one(array, expected), array, expected)

        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        return loop_blocking(call, order).plain() | {"first": first}
