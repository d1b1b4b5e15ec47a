"""How often calls may be sent again, so that retries never double the load of a sick service.

A token bucket in the form of Finagle's retry budget: each call puts in a fifth of a token, each retry takes out one.
"""

from __future__ import annotations

RATIO = 0.2
"""Retries per call, in the long run."""
RESERVE = 1000.0
"""Retries that are there at the start and may be saved up. Finagle has 100; but here a call is sent again only when its
replica has died, and its work with it, and all calls that were in flight there are to have one at once."""


class RetryBudget:
    """The budget of one caller towards one service. Pure: it knows no clock."""

    def __init__(self, *, ratio: float = RATIO, reserve: float = RESERVE) -> None:
        self._ratio = ratio
        self._reserve = reserve
        self._tokens = reserve

    def __repr__(self) -> str:
        """What is left."""
        return f"<RetryBudget {self._tokens:.1f} of {self._reserve:g}>"

    def deposit(self, calls: int = 1) -> None:
        """Count calls."""
        self._tokens = min(self._reserve, self._tokens + calls * self._ratio)

    def withdraw(self) -> bool:
        """Take a retry, if there is one left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
