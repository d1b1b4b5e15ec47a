"""svcd's ingress in front of a service that answers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from contenders import http_client
from contenders.app import app_server
from contenders.servers import free_port

if TYPE_CHECKING:
    from load import Order

PATH = "/answer"


class Session:
    """A running app and a client in this process."""

    up: float

    def __enter__(self) -> Self:
        self._port = free_port()
        self._server = app_server("--set", f"app.http=127.0.0.1:{self._port}")
        self.up = self._server.until(lambda: http_client.is_serving(f"http://127.0.0.1:{self._port}{PATH}"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small`, with as many connections as calls in flight."""
        return http_client.measure(self._port, PATH, order).plain()
