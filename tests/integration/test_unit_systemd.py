"""The unit that svcd prints, under a real systemd: started when ready, stopped in order, restarted when killed."""

from __future__ import annotations

import http.client
import os
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from running import SVCD, write_app
from systemd.booted import Systemd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.systemd, pytest.mark.root]

ODD = """it's 100% "odd", $HOME; \\ é"""

GOOD = """
    import subprocess, svcd

    @svcd.service
    class Ping:
        def __init__(self) -> None:
            subprocess.Popen(["sleep", "1000"], start_new_session=True)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""

BROKEN = """
    import svcd

    @svcd.service
    class Model:
        def __init__(self) -> None:
            raise FileNotFoundError("no weights at /models/x")

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""

SLOW_TO_STOP = """
    import time, svcd

    @svcd.service
    class Slow:
        @svcd.on_shutdown
        def flush(self) -> None:
            time.sleep(3)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with Systemd(tmp_path) as booted:
        yield booted


def printed(folder: Path) -> str:
    """The unit for the app in a folder, as `svcd unit print` prints it there."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("SVCD")}
    done = subprocess.run([*SVCD, "unit", "print"], cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def noting(tmp_path: Path) -> str:
    """ExecStopPost= that notes how the service ended: systemd itself forgets a stopped unit at once."""
    return f"/bin/sh -c 'echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS >{tmp_path}/ended'"


def ended(tmp_path: Path) -> str:
    """What was noted: result, how, and with which status."""
    return (tmp_path / "ended").read_text().strip()


def get(url: str, path: str) -> int:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["app", ODD])
def test_start_returns_when_ready_and_stop_leaves_nothing(systemd: Systemd, tmp_path: Path, name: str) -> None:
    folder = write_app(tmp_path / name, GOOD, entry="Ping")
    systemd.install("x.service", printed(folder), ExecStopPost=noting(tmp_path))
    systemd.run("systemctl", "start", "x")
    facts = systemd.show("x")
    assert facts["ActiveState"] == "active"
    status, _, url = facts["StatusText"].partition(" at ")
    assert status == "ready"
    assert get(url, "/readyz") == 200
    assert f'Status: "ready at {url}"' in systemd.run("systemctl", "status", "--no-pager", "x").stdout
    systemd.run("systemctl", "stop", "x")
    assert ended(tmp_path) == "success exited 0"
    assert systemd.processes() == set()
    assert systemd.run("ls", "-A", "/run/svcd").stdout == ""


def test_an_app_that_cannot_start_fails_the_start_with_the_reason(systemd: Systemd, tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", BROKEN, entry="Model")
    systemd.install("x.service", printed(folder), RestartSec="1h")
    done = systemd.run("systemctl", "start", "x", check=False)
    assert done.returncode == 1
    facts = systemd.show("x")
    assert (facts["Result"], facts["ExecMainStatus"]) == ("exit-code", "1")
    assert "it cannot become ready: " in facts["StatusText"]
    assert "no weights at /models/x" in facts["StatusText"]
    assert facts["SubState"] == "auto-restart"
    assert systemd.processes() == set()


def test_what_outlives_a_killed_daemon_is_taken_over(systemd: Systemd, tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", GOOD, 'orphan_grace = "30s"\n', entry="Ping")
    systemd.install("x.service", printed(folder), RestartSec="100ms", ExecStopPost=noting(tmp_path))
    systemd.run("systemctl", "start", "x")
    before, old = systemd.show("x"), systemd.processes()
    systemd.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "x")
    systemd.wait(lambda: systemd.show("x")["NRestarts"] == "1", "the restart")
    systemd.wait(lambda: systemd.show("x")["ActiveState"] == "active", "the app to be taken over")
    after = systemd.show("x")
    assert after["StatusText"] == before["StatusText"], "the address is the same"
    assert old - systemd.processes() == {before["MainPID"]}
    assert get(after["StatusText"].partition(" at ")[2], "/readyz") == 200
    systemd.run("systemctl", "stop", "x")
    assert ended(tmp_path) == "success exited 0"
    assert systemd.processes() == set()


def test_a_killed_daemon_is_started_again_and_nothing_of_the_old_one_is_left(systemd: Systemd, tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", GOOD, entry="Ping")
    systemd.install("x.service", printed(folder), RestartSec="100ms")
    systemd.run("systemctl", "start", "x")
    before, old = systemd.show("x"), systemd.processes()
    assert before["MainPID"] in old
    systemd.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "x")
    systemd.wait(lambda: systemd.show("x")["NRestarts"] == "1", "the restart")
    systemd.wait(lambda: systemd.show("x")["ActiveState"] == "active", "the app to be ready again")
    after = systemd.show("x")
    assert after["MainPID"] != before["MainPID"]
    assert not old & systemd.processes()
    assert get(after["StatusText"].partition(" at ")[2], "/readyz") == 200


def test_an_orderly_stop_gets_the_time_it_needs(systemd: Systemd, tmp_path: Path) -> None:
    """Three seconds, where systemd would kill after one: the daemon asks for more."""
    folder = write_app(tmp_path / "app", SLOW_TO_STOP, entry="Slow")
    systemd.install("x.service", printed(folder), TimeoutStopSec="1", ExecStopPost=noting(tmp_path))
    systemd.run("systemctl", "start", "x")
    systemd.run("systemctl", "stop", "x")
    assert ended(tmp_path) == "success exited 0"


def test_what_is_wrong_is_in_the_status(systemd: Systemd, tmp_path: Path) -> None:
    """A GPU that this machine does not have: the start goes on waiting, and says for what."""
    source = GOOD.replace("@svcd.service", "@svcd.service(resources={'gpu': 99})")
    folder = write_app(tmp_path / "app", source, entry="Ping")
    systemd.install("x.service", printed(folder), ExecStopPost=noting(tmp_path))
    systemd.run("systemctl", "start", "--no-block", "x")
    systemd.wait(lambda: "Ping/0 pending: needs 99 GPUs" in systemd.show("x")["StatusText"], "the pending replica")
    assert systemd.show("x")["ActiveState"] == "activating"
    systemd.run("systemctl", "stop", "x")
    assert ended(tmp_path) == "success exited 0"
    assert systemd.processes() == set()


def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    folder = write_app(tmp_path / ODD, GOOD, entry="Ping")
    unit = tmp_path / "x.service"
    unit.write_text(printed(folder))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_sandbox_changes_nothing_of_the_machine(systemd: Systemd, tmp_path: Path) -> None:
    for place in ("/etc", "/usr", "/lib/systemd/system"):
        assert systemd.run("touch", f"{place}/svcd-test", check=False).returncode != 0
    name = f"svcd-test-{tmp_path.name}"
    for place in ("/tmp", "/run", "/var", "/dev"):
        systemd.run("touch", f"{place}/{name}")
        assert not os.path.exists(f"{place}/{name}")  # noqa: PTH110 - one look
    units = systemd.run("systemctl", "list-unit-files", "--no-legend").stdout.split()
    assert {unit for unit in units if unit.endswith((".service", ".timer", ".socket"))} == set()
