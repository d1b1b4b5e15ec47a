"""An app that has all that HTTP can do, run once for each module of tests that asks for it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from running import RunningApp, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).with_name("http_services.py").read_text()
TOML = """
total_timeout = "60s"
cors = {{ origins = ["https://page.example"] }}

[services.{entry}.traffic]
timeout = "20s"
"""


@contextmanager
def running_http_app(folder: Path, entry: str) -> Iterator[RunningApp]:
    """Run it with `Everything` or `Odd` as its entry; what it leaves behind is an error."""
    write_app(folder, SERVICE, TOML.format(entry=entry), entry=entry)
    with RunningApp(folder) as app:
        yield app.up()


def printed(app: RunningApp) -> str:
    """What the entry and the service below it have printed."""
    return "".join(app.log(path.name.removesuffix(".log")) for path in app.logs.glob("*.0.log"))
