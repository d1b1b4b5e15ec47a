"""svcd's app with chains of services and with services of many replicas."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from contenders.app import LIMIT
from contenders.app import Session as AppSession

if TYPE_CHECKING:
    from load import Order


class Session(AppSession):
    """The app of `Shape`."""

    entry = "Shape"

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `chain` with hops as the target, and `many` with the number of replicas, which is set here."""
        if order.what == "many":
            self._scale(int(order.target))
        return super().measure(order)

    def _scale(self, wanted: int) -> None:
        self.ask("scale", {"service": "Many", "replicas": wanted})
        end = time.monotonic() + LIMIT
        while sum(row["service"] == "Many" and row["state"] == "ready" for row in self.ask("ps", {})) != wanted:
            if time.monotonic() > end:
                raise RuntimeError(f"there are no {wanted} replicas after {LIMIT:g} s")
            time.sleep(0.2)
