"""BentoML: `bentoml serve` of one service that depends on another."""

from __future__ import annotations

import json
import sys
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from contenders import http_client
from contenders.servers import Server, free_port

if TYPE_CHECKING:
    from load import Order

LIMIT = 300.0


class Session:
    """A server whose entry measures."""

    up: float

    def __enter__(self) -> Self:
        self.port = free_port()
        program = Path(sys.executable).with_name("bentoml")
        words = ("serve", "contenders.bento_services:Caller", "--host", "127.0.0.1", "--port", str(self.port))
        quiet = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{folder}", "BENTOML_CONFIG_OPTIONS": _QUIET}
        self._server = Server([program, *words], quiet)
        self.up = self._server.until(lambda: http_client.is_serving(f"http://127.0.0.1:{self.port}/answer"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small` and `array`."""
        body = json.dumps({"order": asdict(order)}).encode()
        address = f"http://127.0.0.1:{self.port}/measure"
        request = urllib.request.Request(address, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT) as response:  # noqa: S310 - http, as written above
            sample: dict[str, Any] = json.load(response)
            return sample


_QUIET = "api_server.logging.access.enabled=false"
