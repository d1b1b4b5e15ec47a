"""The terminal of a reader who is in examples/quickstart: runs the documents' commands for real.

What a reader sees is put back into what is expected: the app's port is 3000 and its name quickstart. `...` stands for
anything; of what svcd itself prints, every figure may be another (pids, times, memory) and columns may be wider.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from doc_blocks import ROOT

from running import PATIENCE, SVCD, RunningApp, wait_until
from svcd_ipc.errors import CallError

if TYPE_CHECKING:
    from types import TracebackType

ADDRESS = "127.0.0.1:3000"
WAITING = re.compile(r"^waiting for .*\n", re.MULTILINE)
"""What `svcd down` says from its second second on, by docs/cli.md: whether there is one is a matter of the machine."""
NEED_NO_APP = tuple(f"svcd {command}" for command in ("check", "config", "env", "init", "schema", "unit", "up"))


class Terminal:
    """A folder with the quickstart, where `svcd` and `curl` are at hand. The app is started when a command needs it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "examples" / "quickstart"
        shutil.copytree(ROOT / "examples" / "quickstart", self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / ".curlrc").write_text("silent\nshow-error\n")  # as on a terminal: no progress in the output
        own = {"SVCD__APP__HTTP": "127.0.0.1:0", "CURL_HOME": str(tmp_path), "PYTHONWARNINGS": "error"}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.app = RunningApp(self.folder, env={**own, "PATH": path})
        self.app.env["SVCD__APP__NAME"] = self.app.name
        self._address = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.app.processes()  # to know, when it has ended, what has to be gone
        if self.is_up:
            self.shell("svcd down")
        self.app.__exit__(kind, error, tb)

    @property
    def is_up(self) -> bool:
        """Whether the app runs."""
        with suppress(OSError, CallError):
            self.app.rows()
            return True
        return False

    def run(self, command: str, expected: str) -> None:
        """Run a command and fail unless it prints what is expected. One that only looks is repeated until it does."""
        if command == "svcd up" and not self.is_up:
            self.up()
            wait_until(lambda: self._has_lines(expected), f"`svcd up` to print\n{expected}not\n{self._said}")
            return
        if not command.startswith(NEED_NO_APP):
            self.up()
        pattern = pattern_of(expected, figures_vary=command.startswith("svcd "))
        printed = self.shell(command)
        if command == "svcd down" and not WAITING.match(expected):
            printed = WAITING.sub("", printed)
        if command.startswith(("svcd ps", "svcd logs")) and not pattern.fullmatch(printed):
            wait_until(
                lambda: pattern.fullmatch(self.shell(command)), f"`{command}` to print\n{expected}not\n{printed}"
            )
        elif not pattern.fullmatch(printed):
            raise AssertionError(f"`{command}` should print\n{expected}but printed\n{printed}")

    def up(self) -> None:
        """Start the app as a reader would, in another terminal, unless it runs or has been stopped."""
        if self._address or self.is_up:
            return
        with (self.app.base / "stderr").open("wb") as stderr:
            self.app.daemon = subprocess.Popen(
                [*SVCD, "up"],
                env=self.app.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        wait_until(lambda: "ready after" in self.app.stderr or self.app.daemon_ended, "the app to be ready")
        assert not self.app.daemon_ended, self.app.stderr
        self._address = self.app.url.removeprefix("http://")

    def shell(self, command: str) -> str:
        """Run a command line and return what it prints, as the reader of the document would see it."""
        if self._address:
            command = command.replace(ADDRESS, self._address)
        done = subprocess.run(
            ["bash", "-c", command],
            env=self.app.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        self._address = self._address or _address_in(done.stdout)
        return tidy(self._as_seen(done.stdout))

    def python(self, script: Path) -> str:
        """Run a program of the document and return what it prints."""
        text = script.read_text()
        if ADDRESS in text:
            self.up()
            script.write_text(text.replace(ADDRESS, self._address))
        return self.shell(f"{sys.executable} {script}")

    def _as_seen(self, text: str) -> str:
        if self._address:
            text = text.replace(self._address, ADDRESS)
        return text.replace("127.0.0.1:0", ADDRESS).replace(self.app.name, "quickstart")

    @property
    def _said(self) -> str:
        return self._as_seen(self.app.stderr)

    def _has_lines(self, expected: str) -> bool:
        """Replicas become ready in any order, and some perhaps after the app."""
        printed = self._said.splitlines(keepends=True)
        patterns = [pattern_of(line, figures_vary=True) for line in expected.splitlines()]
        return len(printed) >= len(patterns) and all(any(map(each.fullmatch, printed)) for each in patterns)


def _address_in(text: str) -> str:
    found = re.search(r"^ready after .* http://(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def pattern_of(expected: str, *, figures_vary: bool) -> re.Pattern[str]:
    """Return what the output, as `tidy` gives it, has to match: `...` is anything, alone on its line any lines."""
    pieces = []
    for line in expected.splitlines():
        text = re.escape(line).replace(r"\.\.\.", ".*?")
        if figures_vary and not line.startswith("exit "):
            text = re.sub(r"(\\ )+", r"\\ +", re.sub(r"\d+(?:\\\.\d+)?", r"\\d+(?:\\.\\d+)?", text))
        pieces.append(r"(?:.*\n)*?" if line == "..." else f"{text}\\n")
    return re.compile("".join(pieces))


def tidy(text: str) -> str:
    """Return the output without spaces at the ends of lines, each line ended."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())
