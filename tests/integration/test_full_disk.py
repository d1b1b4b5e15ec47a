"""A log directory without room: serving goes on, and it is said once, before there is room again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from running import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp
    from running import RunningApp

SERVICE = """
    import svcd

    @svcd.service
    class Entry:
        @svcd.api
        async def talk(self) -> int:
            print("x" * 4000)
            return 1
"""


@pytest.mark.root
def test_a_full_log_disk_is_told_where_it_can_be(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Entry")
    app.logs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(app.logs)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        app.up()
        for _ in range(10):
            assert app.post("talk") == (200, 1)
        fill(app.logs / "filler")
        lost = wait_until(lambda: unwritten(app), "it to be noticed")
        assert all("No space left on device" in line for line in lost)
        assert "trouble: " in app.stderr
        assert app.post("talk") == (200, 1)
        (app.logs / "filler").unlink()
        wait_until(lambda: not unwritten(app), "room to be noticed")
        assert "over: " in app.stderr
        assert ' "lost"' in app.svcd("events", "--json").stdout
    finally:
        subprocess.run(["umount", "--lazy", str(app.logs)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.write(bytes(1024 * 1024)) and file.write(b"x")  # what is short of the first write fails in the second


def unwritten(app: RunningApp) -> list[str]:
    """Give the daemon something to write, and return what it says it could not."""
    app.svcd("scale", "Entry=1")
    return [line for line in app.svcd("status").stdout.splitlines() if "cannot be written" in line]
