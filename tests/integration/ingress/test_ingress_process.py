"""The ingress as a process: how it comes up, what it tells the daemon, and how it ends."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from http_client import Http
from scripted_ingress import Hanging, ScriptedEntry, echo, serve_entry

import svcd.worker
from svcd.ingress import main as ingress_main
from svcd.ingress.log import Log
from svcd.ingress.main import IngressProcess
from svcd.values import boot
from svcd.values.specs import HttpLimits
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from svcd_ipc.channel import Channel, IncomingCall

BOOT_SCRIPT = Path(svcd.worker.__file__).with_name("boot.py")


@dataclass
class Daemon:
    """Plays the daemon: lets the ingress in, tells it the route to the entry, notes when it is ready."""

    link: str
    entry: ScriptedEntry
    entry_path: str
    listener: socket.socket
    ready: trio.Event = field(default_factory=trio.Event)
    routed: trio.Event = field(default_factory=trio.Event)
    channels: list[Channel] = field(default_factory=list)

    @property
    def boot(self) -> boot.IngressBoot:
        identity = boot.Identity(app="mood", service="ingress", replica=0, generation=1, nonce="n")
        return boot.IngressBoot(
            identity=identity, link=self.link, entry="Mood", timeout=10, max_queue=8, limits=HttpLimits(max_body=1000)
        )

    async def run(self, nursery: trio.Nursery) -> None:
        await nursery.start(_serve_daemon, self, nursery)

    def push_routes(self, nursery: trio.Nursery, channel: Channel) -> None:
        self.channels.append(channel)
        routes = {"Mood": {"state": "ready", "reason": None, "replicas": [["Mood/0", self.entry_path]]}}
        nursery.start_soon(self._push, channel, routes)

    async def _push(self, channel: Channel, routes: dict[str, Any]) -> None:
        await channel.call("routes", {"services": routes})
        self.routed.set()

    async def handle(self, call: IncomingCall) -> None:
        assert call.api == "ready"
        assert call.peer.identity["role"] == "ingress"
        self.ready.set()

    async def connect(self) -> Http:
        return Http(await trio.open_tcp_stream(*self.listener.getsockname()))


async def _serve_daemon(daemon: Daemon, nursery: trio.Nursery, *, task_status: Any) -> None:
    await serve(
        listen(daemon.link),
        daemon.handle,
        identity={"role": "daemon"},
        on_channel=lambda channel: daemon.push_routes(nursery, channel),
        task_status=task_status,
    )


@pytest.fixture
async def daemon(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Daemon]:
    entry, path = ScriptedEntry({"echo": echo}), str(tmp_path / "entry.sock")
    await nursery.start(serve_entry, path, entry)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        daemon = Daemon(str(tmp_path / "link.sock"), entry, path, listener)
        await daemon.run(nursery)
        yield daemon


class Process:
    """A real ingress process, started as the keeper starts it."""

    def __init__(self, daemon: Daemon, tmp_path: Path) -> None:
        self.log = tmp_path / "ingress.log"
        stdin = tmp_path / "boot.json"
        stdin.write_bytes(boot.dump(daemon.boot))
        listener = os.dup(daemon.listener.fileno())  # far from 0 to 3, which are set up in this order
        flags = os.O_WRONLY | os.O_CREAT
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", str(BOOT_SCRIPT)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, listener, 3),
                (os.POSIX_SPAWN_OPEN, 0, str(stdin), os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        os.close(listener)
        self._pidfd = os.pidfd_open(self.pid)

    async def wait(self) -> int:
        try:
            with trio.fail_after(20):
                await trio.lowlevel.wait_readable(self._pidfd)
        except trio.TooSlowError:
            os.kill(self.pid, signal.SIGKILL)
            raise
        finally:
            os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)  # noqa: ASYNC222 - the pidfd has said that it has ended
        return os.waitstatus_to_exitcode(status)


async def test_it_serves_until_sigterm_and_answers_what_is_in_flight(daemon: Daemon, tmp_path: Path) -> None:
    started, release = trio.Event(), trio.Event()

    async def wait(_args: dict[str, Any]) -> list[Any]:
        started.set()
        await release.wait()
        return ["text/plain", b"done"]

    daemon.entry.apis["wait"] = wait
    process = Process(daemon, tmp_path)
    try:
        await daemon.ready.wait()
        async with await daemon.connect() as http, await daemon.connect() as busy:
            assert (await http.post("/echo", b"hello")).body == b"hello"
            await busy.send_head("POST", "/wait", {"content-length": "0"})
            await busy.end_body()
            await started.wait()
            os.kill(process.pid, signal.SIGINT)  # Ctrl-C in the terminal: not the ingress's business
            os.kill(process.pid, signal.SIGTERM)
            assert await http.stream.receive_some() == b""
            release.set()
            assert (await busy.read_body(await busy.read_head())).body == b"done"
    finally:
        status = await process.wait()
    assert (status, process.log.read_text()) == (0, "")


async def test_it_ends_when_the_daemon_is_gone(daemon: Daemon, tmp_path: Path) -> None:
    process = Process(daemon, tmp_path)
    await daemon.ready.wait()
    await daemon.routed.wait()
    daemon.channels[0].close()
    assert await process.wait() == 1


async def test_it_says_why_it_cannot_start(daemon: Daemon, tmp_path: Path) -> None:
    daemon.link += ".gone"
    process = Process(daemon, tmp_path)
    assert await process.wait() == 1
    (line,) = process.log.read_text().splitlines()
    assert line.startswith("the ingress cannot start: ")
    assert daemon.link in line


@pytest.fixture
async def in_process(daemon: Daemon, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The same within the test's own process, with almost no patience; returns its log."""
    monkeypatch.setattr(ingress_main, "GRACE", 0.05)
    log = io.StringIO()
    nursery.start_soon(IngressProcess(daemon.boot, daemon.listener.dup(), Log(log)).run)
    await daemon.ready.wait()
    return log


async def test_a_request_that_does_not_end_is_given_up_after_the_grace(daemon: Daemon, in_process: io.StringIO) -> None:
    daemon.entry.apis["hang"] = hang = Hanging()
    async with await daemon.connect() as http:
        await http.send_head("POST", "/hang", {"content-length": "0"})
        await http.end_body()
        await hang.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await hang.cancelled.wait()
        await daemon.channels[0].closed.wait()
    assert in_process.getvalue() == "stopped with 1 connections whose requests did not end within 0.05 s\n"


async def test_drain_is_answered_when_nothing_is_in_flight(daemon: Daemon, in_process: io.StringIO) -> None:
    started, release = trio.Event(), trio.Event()

    async def wait(_args: dict[str, Any]) -> list[Any]:
        started.set()
        await release.wait()
        return ["text/plain", b"done"]

    daemon.entry.apis["wait"] = wait
    (channel,) = daemon.channels
    async with await daemon.connect() as http:
        await http.send_head("POST", "/wait", {"content-length": "0"})
        await http.end_body()
        await started.wait()
        async with trio.open_nursery() as draining:
            draining.start_soon(channel.call, "drain", {})
            await trio.testing.wait_all_tasks_blocked()
            health = await channel.call("health", {})
            assert health == {"in_flight": 1, "queued": 0, "connections": 1}
            release.set()
        assert (await http.read_body(await http.read_head())).body == b"done"
    os.kill(os.getpid(), signal.SIGTERM)
    await channel.closed.wait()
    assert in_process.getvalue() == ""


def test_it_imports_no_more_than_it_needs() -> None:
    program = "import svcd.ingress.main, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    for heavy in ("pydantic", "pydantic_core", "starlette", "anyio", "numpy", "click", "psutil", "tomli", "asyncio"):
        assert heavy not in loaded
