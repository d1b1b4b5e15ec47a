"""BentoML over HTTP, without a hop behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contenders import http_client
from contenders.bento import Session as BentoSession

if TYPE_CHECKING:
    from load import Order


class Session(BentoSession):
    """A server and a client in this process."""

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small`, with as many connections as calls in flight."""
        return http_client.measure(self.port, "/answer", order).plain()
