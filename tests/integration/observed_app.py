"""An app in which the keys of the schema are set to something else than their defaults, and how to look at it."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from running import PATIENCE

if TYPE_CHECKING:
    from running import RunningApp

SERVICE = '''
import os
import threading
import time
from pathlib import Path

import svcd
import trio
from svcd_ipc.giveway import GiveWay

HERE = Path(__file__).parent


async def appears(name):
    while not (HERE / name).exists():
        await trio.sleep(0.01)


@svcd.service
class Plain:
    """Sets nothing of its process."""

    @svcd.api
    async def spin(self) -> float:
        return GiveWay().spin


@svcd.service
class Shaped:
    """Takes its resources from an instance type."""


@svcd.service
class Own:
    """Says its resources itself."""

    running, peak = 0, 0

    @svcd.api
    async def together(self) -> int:
        Own.running += 1
        Own.peak = max(Own.peak, Own.running)
        while Own.peak < 2:
            await trio.sleep(0.01)
        await trio.sleep(0.05)  # so that a third would be seen
        Own.running -= 1
        return Own.peak


@svcd.service
class Narrow:
    @svcd.api
    async def slow(self) -> None:
        """Ends when another call has been refused."""
        await appears("Overloaded")


@svcd.service
class Process:
    """Has settings of its process, its environment, its interpreter."""

    barrier = threading.Barrier(3, timeout=20)

    @svcd.api
    def meet(self) -> str:
        self.barrier.wait()
        return "met"


@svcd.service
class Timed:
    @svcd.api
    async def forever(self) -> None:
        await trio.sleep_forever()


@svcd.service
class Late:
    def __init__(self) -> None:
        time.sleep(3600)


@svcd.service
class Draining:
    @svcd.api
    async def nap(self) -> str:
        await appears("wake")
        return "done"


@svcd.service
class Stopping:
    @svcd.on_shutdown
    async def linger(self) -> None:
        await trio.sleep(2)
        (HERE / "stopped in its own time").touch()


@svcd.service
class Entry:
    plain = svcd.depends(Plain)
    shaped = svcd.depends(Shaped)
    own = svcd.depends(Own)
    narrow = svcd.depends(Narrow)
    process = svcd.depends(Process)
    timed = svcd.depends(Timed)
    late = svcd.depends(Late, optional=True)
    draining = svcd.depends(Draining)
    stopping = svcd.depends(Stopping)

    @svcd.api
    async def who(self) -> str:
        return type(self).__name__

    @svcd.api
    async def hang(self) -> None:
        await trio.sleep_forever()

    @svcd.api
    async def parallel(self, service: str, api: str, times: int, apart: float = 0) -> list[str]:
        """Call it so many times, without waiting for the answers; return what came of each call."""
        told = []

        async def one() -> None:
            call = getattr(getattr(self, service), api)
            try:
                told.append(str(await getattr(call, "to_async", call)()))
            except svcd.CallError as error:
                told.append(type(error).__name__)
                (HERE / type(error).__name__).touch()

        async with trio.open_nursery() as nursery:
            for _ in range(times):
                nursery.start_soon(one)
                await trio.sleep(apart)
        return told
'''
RTPRIO = min(1, resource.getrlimit(resource.RLIMIT_RTPRIO)[1])  # the usual limit is 0, and not all of root may raise it
RLIMITS = {
    "as": ("Max address space", '"64Gi"', 64 * 1024**3),
    "core": ("Max core file size", '"1Mi"', 1024**2),
    "cpu": ("Max cpu time", '"1h"', 3600),
    "data": ("Max data size", '"64Gi"', 64 * 1024**3),
    "fsize": ("Max file size", '"1Gi"', 1024**3),
    "memlock": ("Max locked memory", '"60Ki"', 60 * 1024),
    "msgqueue": ("Max msgqueue size", '"100Ki"', 100 * 1024),
    "nofile": ("Max open files", "500", 500),
    "nproc": ("Max processes", "4000", 4000),
    "rtprio": ("Max realtime priority", str(RTPRIO), RTPRIO),
    "sigpending": ("Max pending signals", "1000", 1000),
    "stack": ("Max stack size", '"4Mi"', 4 * 1024**2),
}
TOML = f"""
[app]
service = "service:Entry"
http = "127.0.0.2:0"
python = "./python-app"
spin = "2us"
arena = "3Mi"
max_body = "1Ki"
max_header = "2Ki"
max_connections = 4
header_timeout = "300ms"
body_timeout = "300ms"
idle_timeout = "1s"
total_timeout = "4s"

[app.cors]
origins = ["https://a.example"]
methods = ["PATCH"]
headers = ["X-Asked"]
expose = ["X-Told"]
credentials = true
max_age = 1234

[instance_types.shape]
gpu = 1
cpu = "100m"
memory = "1Gi"

[services.Plain]
scaling.min_replicas = 2

[services.Shaped]
instance_type = "shape"

[services.Own]
resources = {{ gpu = 2, cpu = "200m", memory = "1Gi" }}
traffic.max_concurrency = 2

[services.Narrow]
traffic = {{ max_concurrency = 1, max_queue = 1 }}

[services.Timed]
traffic.timeout = "100ms"

[services.Process]
threads = 3
python = "./python-service"
version = "observed"
cwd = "elsewhere"
umask = "027"
nice = 5
env_file = "process.env"
envs = {{ OBSERVED = "envs" }}
rlimits = {{ {", ".join(f"{name} = {written}" for name, (_, written, _) in RLIMITS.items())} }}

[services.Late]
start_timeout = "500ms"

[services.Draining]
scaling = {{ min_replicas = 2, max_replicas = 2 }}
drain_timeout = "100ms"

[services.Stopping]
scaling.min_replicas = 2
stop_timeout = "100ms"
"""


def write(folder: Path) -> Path:
    """Write the app's files."""
    (folder / "elsewhere").mkdir(parents=True)
    (folder / "service.py").write_text(SERVICE)
    (folder / "svcd.toml").write_text(TOML)
    (folder / "process.env").write_text("OBSERVED_TOO=env_file\n")
    for name in ("app", "service"):
        path = folder / f"python-{name}"
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -X observer={name} "$@"\n')
        path.chmod(0o755)
    return folder


def pid_of(app: RunningApp, service: str) -> int:
    pid: int = app.row(service)["pid"]
    return pid


def proc(app: RunningApp, service: str, name: str) -> str:
    return Path(f"/proc/{pid_of(app, service)}/{name}").read_text()


def environ(app: RunningApp, service: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in proc(app, service, "environ").split("\0") if pair)


def call(app: RunningApp, target: str, **args: object) -> Any:
    return json.loads(app.svcd("call", target, json.dumps(args)).stdout)


def http(app: RunningApp, sent: bytes) -> bytes:
    """Send bytes to the ingress; return all it answers until it closes the connection."""
    address = urlsplit(app.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # closed before all that was sent had been read
            while piece := connection.recv(65536):
                answer += piece
    return answer


GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n"
CLOSE = b"connection: close\r\n"
ORIGIN = b"origin: https://a.example\r\n"


def preflight(app: RunningApp) -> dict[str, str]:
    asked = b"access-control-request-method: PATCH\r\naccess-control-request-headers: X-Asked\r\n"
    return headers_of(http(app, b"OPTIONS /who HTTP/1.1\r\nhost: x\r\n" + ORIGIN + asked + CLOSE + b"\r\n"))


def headers_of(answer: bytes) -> dict[str, str]:
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in head.splitlines()[1:])}
