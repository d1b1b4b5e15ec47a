"""`svcd up`: start the app, in the foreground or detached."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from svcd.cli.common import (
    EXIT_FAILURE,
    EXIT_TIMED_OUT,
    app_options,
    connect,
    documents_of,
    fail,
    sources_of,
    wait_ended,
    watched,
    words_of,
)
from svcd.cli.durations import Duration
from svcd.cli.progress import Progress
from svcd.config import ConfigError
from svcd.values.errors import DaemonError
from svcd.values.places import Places, places

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.config import Documents
    from svcd.values.events import Change

HINT = "`svcd logs` shows what the replicas printed, `svcd ps` what runs"
HINT_STOPPED = "`svcd logs` shows what the replicas printed"


_STARTED = b"\0"
"""What a detached daemon writes after its last words to the terminal: no text has it."""


@click.command("up")
@app_options
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return once replicas are being started.")
@click.option("--wait", is_flag=True, help="Implies -d: return when the app is ready, or has failed and is stopped.")
@click.option("--timeout", type=Duration(), help="With --wait: give up waiting after so long (5); it goes on.")
@click.option("--report-fd", type=int, hidden=True, help="Descriptor to close once replicas are being started.")
def command(
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    timeout: float | None,
    report_fd: int | None,
    *,
    detach: bool,
    wait: bool,
) -> None:
    """Start the app and keep it running.

    In the foreground, Ctrl-C, SIGTERM and SIGHUP stop every service in order, callers first, and svcd exits 0. A
    second Ctrl-C does not wait: it kills everything at once, and svcd exits 1.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    documents = documents_of(sources_of(files, profile, sets))
    where = places(documents.app_name, os.environ, os.getuid())
    if detach or wait:
        try:
            _detach(words_of(files, profile, sets), where, wait=wait, timeout=timeout)
        except KeyboardInterrupt:
            fail("interrupted; the app goes on starting in the background, `svcd down` stops it")
    else:
        sys.exit(_run(documents, where, report_fd))


def _run(documents: Documents, where: Places, report_fd: int | None) -> int:
    from svcd.daemon import up  # noqa: PLC0415 - the parent of a detached daemon does without
    from svcd.host.program import Program  # noqa: PLC0415 - as above
    from svcd.host.sockets import RuntimeDirectoryError  # noqa: PLC0415 - as above

    reporter = Foreground() if report_fd is None else Detached(report_fd, where)
    try:
        return up(documents, where, Program.this(documents.app_python), reporter)
    except (ConfigError, DaemonError, RuntimeDirectoryError, OSError) as error:
        fail(str(error))


class Foreground:
    """A reporter that writes to the terminal."""

    def __init__(self) -> None:
        self._progress = shown = Progress()
        self.started, self.ready, self.stopping, self.note = shown.started, shown.ready, shown.stopping, shown.note

    def change(self, change: Change) -> None:
        """Write a line."""
        self._progress.change(asdict(change))


class Detached:
    """A reporter that tells the waiting parent that the start went well so far, and then only logs."""

    def __init__(self, report_fd: int, where: Places) -> None:
        self._report_fd = report_fd
        self._where = where

    def started(self, info: dict[str, Any]) -> None:  # noqa: ARG002 - the parent asks for it itself
        """Let the parent go; from here on stdout and stderr belong to the daemon's log."""
        log = os.open(self._where.daemon_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.write(self._report_fd, _STARTED)
        os.close(self._report_fd)

    def change(self, change: Change) -> None:
        """The daemon's log has it."""

    def ready(self, info: dict[str, Any], seconds: float) -> None:
        """The parent asks for it itself."""

    def stopping(self, reason: str) -> None:
        """The daemon's log has it."""

    def note(self, text: str) -> None:
        """Nobody reads along."""


def _detach(words: list[str], where: Places, *, wait: bool, timeout: float | None) -> None:
    began = time.monotonic()
    daemon, said = _start_daemon(words)
    with said:
        text, is_started = _first_words(said.fileno())
    sys.stderr.write(text.decode(errors="replace"))
    if not is_started:
        code = daemon.wait() or EXIT_FAILURE
        if not text:
            fail("it was stopped before anything ran; `svcd events` shows by whom", code)
        sys.exit(code)
    daemon.returncode = 0  # it goes on without us; Popen would warn of it
    if not wait:
        click.echo(f"started, pid {daemon.pid}; {HINT}", err=True)
        return
    _wait(where, began, timeout)


def _start_daemon(words: list[str]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start the daemon; what it says on stderr until it runs, or ends, comes through the pipe."""
    from svcd.host.program import own_command  # noqa: PLC0415 - only here

    ours, theirs = os.pipe()
    try:
        daemon = subprocess.Popen(
            [*own_command(), "up", *words, "--report-fd", str(theirs)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            pass_fds=[theirs],
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    return daemon, os.fdopen(ours, "rb")


def _first_words(pipe: int) -> tuple[bytes, bool]:
    """Return what the daemon said until replicas were being started, or until it ended, and which of the two it was.

    The end of the stream alone does not tell: the loader of the packed program holds the pipe open too.
    """
    text = b""
    while not text.endswith(_STARTED) and (data := os.read(pipe, 65536)):
        text += data
    return text.removesuffix(_STARTED), text.endswith(_STARTED)


def _wait(where: Places, began: float, timeout: float | None) -> None:
    from svcd_ipc.errors import CallError, DeadlineExceeded  # noqa: PLC0415 - only for waiting

    client = connect(where)
    if client is None:
        _lost()
    progress = Progress()
    with watched(where, client.pid) as daemon, client:
        try:
            info = client.call("info", {}, timeout=timeout)
            progress.started(info)
            for news in client.stream("start", {}, timeout=timeout):
                if "change" in news:
                    progress.change(news["change"])
                elif news["ready"]:
                    progress.ready(info, time.monotonic() - began)
                elif news["goes_on"]:
                    fail(f"not all of it became ready, and it goes on as it is: {news['reason']}\n{HINT}")
                else:
                    wait_ended(daemon)
                    fail(f"it cannot become ready and was stopped: {news['reason']}\n{HINT_STOPPED}")
        except DeadlineExceeded:
            fail(f"not ready after {timeout:g} s; it goes on starting; {HINT}", EXIT_TIMED_OUT)
        except CallError:
            _lost()


def _lost() -> NoReturn:
    fail("the daemon ended while the app was starting; svcd logs daemon shows why")
