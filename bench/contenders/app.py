"""svcd as its users have it: a running app, one service that calls another over `depends()`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from contenders.servers import BENCH, Server
from svcd.cli.call import BlockingClient

if TYPE_CHECKING:
    from load import Order

SVCD = (sys.executable, "-P", "-m", "svcd")
LIMIT = 300.0
"""Seconds for one measurement."""


def app_server(*options: str) -> Server:
    """Run `svcd up` with directories of its own."""
    folders = {"SVCD_RUNTIME_DIR": "{folder}/r", "SVCD_LOG_DIR": "{folder}/l"}
    return Server([*SVCD, "up", "-f", BENCH / "svcd.toml", *options], folders)


class Session:
    """An app whose entry has an api `measure`."""

    entry = "Caller"
    options: tuple[str, ...] = ()
    up: float

    def __enter__(self) -> Self:
        self.server = app_server("--set", f"app.service=contenders.app_services:{self.entry}", *self.options)
        self._where: dict[str, Any] = {}
        self.up = self.server.until(self._is_ready)
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.__exit__(*exc)

    def _is_ready(self) -> bool:
        """Wait for the entry, as `svcd call` does."""
        control = self.server.folder / "r" / "control.sock"
        if not control.exists():
            return False
        try:
            self._where = self.ask("where", {"service": self.entry})
        except ConnectionRefusedError:  # It is bound, and nobody listens yet.
            return False
        return True

    def ask(self, api: str, args: dict[str, Any]) -> Any:
        """Ask the daemon."""
        with BlockingClient(self.server.folder / "r" / "control.sock", {"role": "cli"}) as daemon:
            return daemon.call(api, args, timeout=LIMIT)

    def measure(self, order: Order) -> dict[str, Any]:
        """Take what the entry's `measure` takes."""
        identity = {"role": "cli", "secret": self._where["secret"]}
        with BlockingClient(self._where["socket"], identity) as replica:
            sample: dict[str, Any] = replica.call("measure", {"order": asdict(order)}, timeout=LIMIT)
            return sample
