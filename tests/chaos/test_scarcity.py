"""Too much output, no log directory, too few descriptors, under a steady load: serving goes on, and it is said once.

A full disk is in tests/integration/test_machine_ails.py. `SVCD_FAULT_SECONDS=60` is the long form, as `make faults` has
it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import sys
import termios
import time
from contextlib import ExitStack, suppress
from textwrap import dedent
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from fault_app import RATE, SECONDS, SERVICE

from running import wait_until
from svcd.host.logs import FILE_SIZE, FILES_KEPT, WINDOW, parse_line
from svcd.host.processes import read_stat
from svcd.measure.http import HttpLoad

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

pytestmark = pytest.mark.timeout(120 + 5 * SECONDS)

IS_LONG = SECONDS >= 60
LINE = 1000
"""Bytes."""
LINES = 1_000_000 if IS_LONG else 50_000
"""1 GB, or 50 MB."""
DESCRIPTORS = 256

LOUD = f"""
    import os

    @svcd.service(traffic={{"timeout": 600}})
    class Loud:
        @svcd.api
        def flood(self) -> int:
            left = memoryview(b"x" * {LINE - 1} + b"\\n")
            block = memoryview(bytes(left) * 100)
            for _ in range({LINES // 100}):
                rest = block
                while rest:
                    rest = rest[os.write(1, rest):]
            return {LINES}

        @svcd.api
        def say(self, text: str) -> None:
            print(text, flush=True)

    @svcd.service
    class Front(Entry):
        loud = svcd.depends(Loud)

        @svcd.api
        async def say(self, text: str) -> None:
            await self.loud.to_async.say(text)
"""


def test_a_flood_and_a_log_directory_that_is_gone(make_app: MakeApp) -> None:
    app = make_app(SERVICE + dedent(LOUD), entry="Front").up()
    keeper = app.guard_and_keeper()[1]
    with HttpLoad(app.url, "again", {"x": 1}, rate=RATE / 4) as load:
        began = time.monotonic()
        assert app.svcd("call", "Loud.flood", "--timeout", "600").stdout == f"{LINES}\n"
        took = time.monotonic() - began
        _check_what_was_kept(app, took)
        resident = _resident(keeper)
        assert resident < 64 * 2**20, "what is not written is not kept in memory either"

        shutil.rmtree(app.logs)
        assert app.post("say", {"text": "begun anew"})[0] == 200
        wait_until(lambda: "begun anew" in app.log("Loud.0"), "its log to be there again")

        shutil.rmtree(app.logs)
        app.logs.write_text("in the way")
        for number in range(3):
            assert app.post("say", {"text": f"lost {number}"})[0] == 200
        wait_until(lambda: not _unread(app.row("Loud")["pid"]), "the keeper to have them")
        lost = wait_until(lambda: _unwritten(app), "it to be noticed")
        assert all("Not a directory" in line for line in lost)
        app.logs.unlink()
        wait_until(lambda: not _unwritten(app), "its end to be noticed")
        assert app.post("say", {"text": "back"})[0] == 200
        lines = wait_until(lambda: "back" in app.log("Loud.0") and app.log("Loud.0").splitlines(), "the log")
    assert [parse_line(line).text for line in lines] == ["svcd: 3 lines were lost here: Not a directory", "back"]
    said = [line for line in app.stderr.splitlines() if line.startswith(("trouble: ", "over: "))]
    said = [line for line in said if not line.endswith(f" {app.logs} is gone")]  # it was, for a moment: seen or not
    assert len(said) == len(set(said)) == 2 * len(lost), "each is said once, and once that it is over"
    assert load.failed == []
    print(  # noqa: T201  (the figures)
        f"{LINES * LINE / 1e6:.0f} MB printed in {took:.1f} s, keeper {resident / 2**20:.0f} MiB;"
        f" {len(load.noted)} requests beside it, none failed"
    )


def _check_what_was_kept(app: RunningApp, took: float) -> None:
    """Every line is there, or counted where it was dropped."""
    app.svcd("restart", "Loud")  # what a process printed last is written whatever it printed before
    files = sorted(app.logs.glob("Loud.0.log*"), reverse=True)
    assert len(files) <= FILES_KEPT
    assert all(file.stat().st_size <= FILE_SIZE for file in files)
    lines = [parse_line(line).text for file in files for line in file.read_text().splitlines()]
    assert 1 <= sum("lines are dropped from here" in line for line in lines) <= 1 + took / WINDOW
    if len(files) < FILES_KEPT:  # else the first ones are gone with their files
        kept = sum(line.startswith("xxx") for line in lines)
        dropped = [int(found[1]) for line in lines if (found := re.match(r"svcd: (\d+) lines were dropped", line))]
        assert kept + sum(dropped) == LINES


def _unread(pid: int) -> int:
    """How many bytes of what a replica has printed wait in its pipe."""
    pipe = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(pipe)


def _unwritten(app: RunningApp) -> list[str]:
    """Give the daemon something to write, and return what it says it could not."""
    app.svcd("scale", "Work=1")
    return [line for line in app.svcd("status").stdout.splitlines() if "cannot be written" in line]


def test_exactly_256_descriptors(make_app: MakeApp) -> None:
    """Of the daemon, and so of all that it starts; more connections come than there are descriptors."""
    app = make_app(SERVICE, entry="Entry").up(under=("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"))
    address = urlsplit(app.url)
    with (
        HttpLoad(app.url, "again", {"x": 1}, rate=RATE / 4) as kept,
        HttpLoad(app.url, "again", {"x": 1}, rate=RATE / 8, anew=True) as fresh,
    ):
        with ExitStack() as stack:
            for _ in range(DESCRIPTORS + 50):
                stack.enter_context(socket.create_connection((address.hostname, address.port)))

            def is_noticed() -> bool:
                control = stack.enter_context(socket.socket(socket.AF_UNIX))
                control.setblocking(False)
                with suppress(BlockingIOError):  # the daemon is late to accept, or can't any more
                    control.connect(str(app.runtime / "control.sock"))
                return "descriptors of the daemon are open" in app.stderr

            wait_until(is_noticed, "it to be noticed")
            if IS_LONG:
                time.sleep(SECONDS)  # nothing is waited for: what is shown is that it goes on so
        wait_until(lambda: "over: " in app.stderr, "its end to be noticed")
    assert kept.failed == []
    assert fresh.failed == []
    assert app.stderr.count("trouble: ") == 1
    assert app.log("ingress").count("the limit on descriptors (ulimit -n) allows") == 1
    assert [row["state"] for row in app.rows()] == ["ready"] * 3
    print(f"{len(kept.noted)} requests on kept connections, {len(fresh.noted)} on new ones, none failed")  # noqa: T201  (the figures)


def _resident(pid: int) -> int:
    stat = read_stat(pid)
    assert stat is not None
    return stat.resident * 4096
