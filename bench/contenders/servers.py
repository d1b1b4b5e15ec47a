"""Starting and ending the processes that contenders serve in."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BENCH = Path(__file__).parents[1]
START_LIMIT = 120.0
"""Seconds for a framework to be ready."""
STOP_LIMIT = 20.0


class Server:
    """One server process, with a process group of its own for all that it starts, and a folder that goes with it."""

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench"))
        self.began = time.perf_counter()
        words = [str(word).replace("{folder}", str(self.folder)) for word in command]
        variables = {key: value.replace("{folder}", str(self.folder)) for key, value in (env or {}).items()}
        self.process = subprocess.Popen(
            words, cwd=BENCH, env={**os.environ, **variables}, stdout=sys.stderr, process_group=0
        )

    def __repr__(self) -> str:
        return f"<Server {self.process.args!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        finally:
            self._kill_group()
            self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def until(self, is_ready: Callable[[], Any]) -> float:
        """Wait; return the seconds since the start. Raises RuntimeError when the process ends instead."""
        while not is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args}: ended with {self.process.returncode} before it was ready")
            if time.perf_counter() > self.began + START_LIMIT:
                raise RuntimeError(f"{self.process.args}: not ready after {START_LIMIT:g} s")
            time.sleep(0.002)
        return time.perf_counter() - self.began


def python_server(module: str, *args: str) -> Server:
    """Run `contenders/MODULE.py` of this interpreter with the path of a socket that it listens on once it is ready."""
    return Server([sys.executable, "-m", f"contenders.{module}", "{folder}/s", *args])


class OverSocket:
    """A contender that is one server of this interpreter, at a socket of its folder, and a client in this process."""

    module: str
    """What is served, as `python_server` names it."""
    up: float
    """Seconds that the server took to listen."""

    def __enter__(self) -> Self:
        self._server = python_server(self.module)
        self.path = self._server.folder / "s"
        self.up = self._server.until(self.path.exists)
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
