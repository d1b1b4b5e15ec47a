"""A real app under a real `svcd up`, in directories of its own, for tests; its end is checked to be complete."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from leftovers import VARIABLE, Deadline, assert_none_left, marked, new_mark
from svcd.host.processes import descendants, environment_of, read_stat
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SVCD = [sys.executable, "-P", "-m", "svcd"]
PATIENCE = 60.0
"""Seconds after which a wait for something is a failure; never an expectation. An app of forty services has begun by
then on a machine with two cores that runs two more of them."""


def write_app(folder: Path, service: str, toml: str = "", *, entry: str) -> Path:
    """Write `service.py` and `svcd.toml`; return the folder. The port is chosen by the kernel."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service.py").write_text(textwrap.dedent(service))
    head = f'[app]\nservice = "service:{entry}"\nhttp = "127.0.0.1:0"\n'
    (folder / "svcd.toml").write_text(head + textwrap.dedent(toml))
    return folder


def wait_until(condition: Callable[[], Any], what: str, *, within: float | Deadline = PATIENCE) -> Any:
    """Return the first true value of `condition`; fail after `within` seconds."""
    deadline = Deadline.of(within)
    while not (value := condition()):
        if deadline.is_over:
            raise AssertionError(f"waited {deadline.limit:g} s for {what}")
        deadline.sleep(0.01)
    return value


class RunningApp:
    """One app. As a context: started on entry unless `start=False`, ended and checked on exit."""

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        # A socket's path has 108 bytes: pytest's own folders are too deep.
        self.base = Path(tempfile.mkdtemp(prefix="svcd-"))
        self.runtime, self.logs, self.state = self.base / "run", self.base / "log", self.base / "state"
        self.name = f"t-{uuid.uuid4().hex[:12]}"
        self.mark = new_mark()
        self.options = ("-f", str(folder / "svcd.toml"), "--set", f"app.name={self.name}", *options)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SVCD", "NOTIFY_"))}
        self.env = {
            **inherited,
            **(env or {}),
            **self.mark,
            "SVCD_RUNTIME_DIR": str(self.runtime),
            "SVCD_LOG_DIR": str(self.logs),
            "SVCD_STATE_DIR": str(self.state),
        }
        self.daemon: subprocess.Popen[bytes] | None = None
        self.pids: set[tuple[int, int]] = set()
        """Everything that was ever seen of it, as (pid, start)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self.daemon is not None and self.daemon.poll() is None:
                self.daemon.terminate()
            if self.daemon is not None:
                self.daemon.wait(PATIENCE)
            self.assert_gone(within=PATIENCE if kind else None)
        finally:
            self._sweep()
            shutil.rmtree(self.base, ignore_errors=True)

    def up(self, *options: str, wait: bool = True, under: tuple[str, ...] = ()) -> Self:
        """Run `svcd up` in the foreground as a child; with `wait`, until the app is ready.

        under: words before the command that become it by exec, such as `("prlimit", "--nofile=256")`.
        """
        with (self.base / "stderr").open("wb") as stderr:
            self.daemon = subprocess.Popen(
                [*under, *SVCD, "up", *self.options, *options],
                env=self.env,
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        if wait:
            wait_until(lambda: "ready after" in self.stderr or self.daemon_ended, "the app to be ready")
            assert not self.daemon_ended, self.stderr + self.log("daemon")
        return self

    def all_up(self, *, but: str = "") -> Self:
        """Wait until every replica is ready, and not only one of each service, as `svcd up` says; but those of one."""

        def are_ready() -> bool:
            return all(row["state"] in {"ready", "done"} for row in self.rows() if row["service"] != but)

        wait_until(are_ready, "every replica to be ready")
        return self

    @property
    def daemon_ended(self) -> bool:
        """Whether the daemon has ended; it is reaped then."""
        assert self.daemon is not None
        return self.daemon.poll() is not None

    @property
    def stderr(self) -> str:
        """What `svcd up` has written so far."""
        return (self.base / "stderr").read_text()

    def log(self, name: str) -> str:
        """A log file: `daemon`, `ingress`, `Classifier.0`; empty when there is none."""
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def svcd(self, command: str, *args: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run another command on the app, such as `svcd("ps", "--json")`; check its exit code."""
        options = [option if option != "-f" else "--file" for option in self.options]
        done = subprocess.run(
            [*SVCD, command, *options, *args],
            env=self.env,
            cwd=self.base,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code is None or done.returncode == code, (done.args, done.returncode, done.stdout, done.stderr)
        return done

    def ps(self) -> list[dict[str, Any]]:
        """The rows of `svcd ps --json`."""
        rows: list[dict[str, Any]] = json.loads(self.svcd("ps", "--json").stdout)
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """The same, asked of the daemon by this process: a tenth of the time."""
        with BlockingClient(self.runtime / "control.sock", {"role": "test"}) as daemon:
            rows: list[dict[str, Any]] = daemon.call("ps", {}, timeout=PATIENCE)
            return rows

    def row(self, service: str, replica: int = 0) -> dict[str, Any]:
        """The row of one replica."""
        return next(row for row in self.rows() if row["service"] == service and row["replica"] == replica)

    @property
    def url(self) -> str:
        """Where the ingress answers."""
        return self.stderr.partition("ready after")[2].split(": ", 1)[1].split()[0]

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """An HTTP connection to the ingress."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
        try:
            yield connection
        finally:
            connection.close()

    def post(self, api: str, body: Any = None, content_type: str = "application/json") -> tuple[int, Any]:
        """POST to an api; return status and decoded JSON (bytes when it is none). A dict is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        with self.connection() as connection:
            connection.request("POST", f"/{api}", data, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, _decoded(answer.read(), answer.headers.get("Content-Type", ""))

    def get(self, path: str) -> tuple[int, Any]:
        """GET a path; return status and decoded JSON."""
        with self.connection() as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, _decoded(answer.read(), answer.headers.get("Content-Type", ""))

    def processes(self) -> set[int]:
        """Every living process of the app: daemon, guard, keeper, replicas and what they started."""
        found = marked(self.mark)
        found |= {pid for pid in _all_pids() if environment_of(pid, "SVCD_APP") == self.name}
        for pid in list(found):
            found |= set(descendants(pid))
        found.discard(os.getpid())
        self.pids |= {(stat.pid, stat.start) for pid in found if (stat := read_stat(pid))}
        return {pid for pid in found if (stat := read_stat(pid)) and stat.state not in {"Z", "X"}}

    def assert_gone(self, *, within: float | Deadline | None = None) -> None:
        """Fail unless all processes go within so many seconds, else those promised."""
        deadline = Deadline.of(within)
        self.processes()
        wait_until(lambda: not self.processes(), "all its processes to go", within=deadline)
        assert_none_left(self.mark, self.pids, within=deadline)

    def guard_and_keeper(self) -> tuple[int, int]:
        """Pids of the guard and of the keeper below it."""
        assert self.daemon is not None
        guard = next(pid for pid in _children(self.daemon.pid) if "svcd.keeper" in _command(pid))
        keeper = next(pid for pid in _children(guard) if "svcd.keeper" in _command(pid))
        return guard, keeper

    def _sweep(self) -> None:
        """Leave nothing behind even when the test failed; only what carries this test's mark is ended."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _decoded(body: bytes, content_type: str) -> Any:
    return json.loads(body) if "json" in content_type and "ndjson" not in content_type else body


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _children(pid: int) -> list[int]:
    return [child for child in descendants(pid) if (stat := read_stat(child)) and stat.parent == pid]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


__all__ = ["PATIENCE", "SVCD", "VARIABLE", "RunningApp", "wait_until", "write_app"]
