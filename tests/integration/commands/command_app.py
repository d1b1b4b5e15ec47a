"""An app of programs: one for each sign of being ready, each kind of end, and a class that depends on them."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from running import RunningApp

HERE = Path(__file__).parent

SERVICE = """
import svcd


@svcd.service
class Front:
    by_http = svcd.depends("ByHttp")
    by_tcp = svcd.depends("ByTcp")
    by_unix = svcd.depends("ByUnix")
    by_exec = svcd.depends("ByExec")
    migrate = svcd.depends("Migrate")
    quits = svcd.depends("Quits", optional=True)
    dies = svcd.depends("Dies", optional=True)
    never = svcd.depends("Never", optional=True)
    late = svcd.depends("Late", optional=True)
    slow = svcd.depends("Slow", optional=True)
    squatted = svcd.depends("Squatted", optional=True)

    def __init__(self) -> None:
        self.at_start = self.by_tcp

    @svcd.api
    async def url(self, name: str) -> str:
        found = getattr(self, name)
        assert type(found) is str
        return found
"""

TOML = """
[app]
service = "service:Front"
http = "127.0.0.1:0"

[services.Migrate]
type = "oneshot"
command = ["{{python}}", "program.py", "note", "migrated", "1", "0"]

[services.ByHttp]
command = ["{{python}}", "program.py", "http", "{{port}}"]
readiness = {{ http = "/health", period = "50ms", timeout = "5s", threshold = 2 }}
after = ["Migrate"]
envs = {{ OWN = "own" }}

[services.ByTcp]
command = ["{{python}}", "program.py", "http", "{{port}}", "{{replica}}"]
url = "tcp://127.0.0.1:{{port}}/{{replica}}"
scaling = {{ min_replicas = 2, max_replicas = 2 }}
drain_timeout = "100ms"

[services.Fixed]
command = ["{{python}}", "program.py", "http", "{fixed}"]
port = {fixed}
readiness.tcp = true

[services.ByUnix]
command = ["{{python}}", "program.py", "unix", "{{socket}}"]
readiness.http = "/"

[services.ByExec]
command = ["{{python}}", "program.py", "touch", "touched"]
readiness.exec = ["test", "-e", "touched"]
stop_signal = "SIGINT"

[services.ByNotify]
command = ["{{python}}", "program.py", "notify", "half way"]
readiness.notify = true

[services.ByFd]
command = ["{{python}}", "program.py", "fd", "5"]
readiness.fd = 5
liveness = {{ exec = ["test", "!", "-e", "sick"], period = "50ms", threshold = 2 }}

[services.Hangs]
command = ["{{python}}", "program.py", "http", "{{port}}"]
liveness = {{ http = "/", period = "50ms", timeout = "1s", threshold = 2 }}

[services.Quits]
command = ["{{python}}", "program.py", "note", "quitted", "3", "0"]
readiness.exec = ["false"]
restart = "on-failure"

[services.Dies]
command = ["true"]

[services.Never]
command = ["{{python}}", "program.py", "note", "nevered", "3"]
restart = "never"

[services.Late]
command = ["{{python}}", "program.py", "http", "{{port}}"]
readiness.http = "/missing"
start_timeout = "4s"
restart = "never"

[services.Slow]
type = "oneshot"
command = ["sleep", "3600"]
start_timeout = "200ms"
restart = "never"

[services.Squatted]
command = ["sleep", "3600"]
port = {squatted}
readiness.tcp = true
start_timeout = "3s"
restart = "never"
"""


def write(folder: Path, *, fixed: int, squatted: int) -> Path:
    """Write the app's files."""
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(SERVICE)
    (folder / "svcd.toml").write_text(TOML.format(fixed=fixed, squatted=squatted))
    (folder / "healthy").touch()
    shutil.copy(HERE / "program.py", folder)
    return folder


def squat() -> socket.socket:
    """Listen on a port, as somebody else's server does."""
    squatter = socket.socket()
    squatter.bind(("127.0.0.1", 0))
    squatter.listen()
    return squatter


def changes(app: RunningApp, replica: str) -> list[str]:
    """The lines of the daemon's log about a replica, without their times."""
    lines = [line.split(" ", 1)[1] for line in app.log("daemon").splitlines()]
    return [line.split(": ", 1)[1] for line in lines if line.startswith(f"{replica}: ")]
