"""A log directory without room, a daemon without descriptors: serving goes on, and each is said once."""

from __future__ import annotations

import resource
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import PATIENCE, wait_until
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
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
        assert ' "lost"' in app.svcd("events", "--json", "-n", "100000").stdout
    finally:
        subprocess.run(["umount", "--lazy", str(app.logs)], check=True)


def test_a_daemon_without_descriptors_says_so_and_serves_on(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Entry").up()
    assert app.daemon is not None
    most = len(list(Path(f"/proc/{app.daemon.pid}/fd").iterdir())) + 8
    _, hard = resource.prlimit(app.daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(app.daemon.pid, resource.RLIMIT_NOFILE, (most, hard))
    with ExitStack() as stack:
        for _ in range(2 * most):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(app.runtime / "control.sock"))
        wait_until(lambda: "descriptors of the daemon are open" in app.stderr, "it to be noticed")
        assert app.post("talk") == (200, 1)
    wait_until(lambda: "over: " in app.stderr, "its end to be noticed")
    assert app.stderr.count("trouble: ") == 1
    assert [row["state"] for row in app.rows()] == ["ready", "ready"]


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.write(bytes(1024 * 1024)) and file.write(b"x")  # what is short of the first write fails in the second


def unwritten(app: RunningApp) -> list[str]:
    """Give the daemon something to write, more than the last pages of its files hold; return what it could not."""
    with BlockingClient(app.runtime / "control.sock", {"role": "test"}) as daemon:
        for _ in range(50):
            daemon.call("scale", {"service": "Entry", "replicas": 1}, timeout=PATIENCE)
    return [line for line in app.svcd("status").stdout.splitlines() if "cannot be written" in line]
