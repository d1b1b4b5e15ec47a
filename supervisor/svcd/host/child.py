"""A short-lived child of a command, which ends with the command and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from svcd.host.processes import become_subreaper, kill_descendants, set_pdeathsig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class StuckError(Exception):
    """The child has not ended in time. `lines` are its output, with what it had to say to SIGQUIT."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("the child has not ended in time")
        self.lines = lines


def run_child(
    argv: Sequence[str], stdin: bytes, *, env: Mapping[str, str], cwd: Path, limit: float, last_words: float
) -> tuple[int, list[str]]:
    """Run it to its end; return (exit code or minus signal, lines of its output).

    Raises OSError if it cannot start, and StuckError after `limit` seconds and `last_words` more for its stacks. To be
    called in the main thread of a program without other children: all that the child started is killed.
    """
    become_subreaper()
    child = subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_begin,  # noqa: PLW1509 - this program has one thread
    )
    try:
        output, is_stuck = _until_it_ends(child, stdin, limit, last_words)
    except BaseException:
        child.kill()
        raise
    finally:
        _kill_all()
    lines = output.decode(errors="replace").splitlines()
    if is_stuck:
        raise StuckError(lines)
    return child.returncode, lines


def _begin() -> None:
    """End with this program, and hear SIGQUIT, which a program in the background of a script has to ignore."""
    set_pdeathsig()
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def _until_it_ends(child: subprocess.Popen[bytes], stdin: bytes, limit: float, last_words: float) -> tuple[bytes, bool]:
    """Return what it wrote, and whether it had to be ended."""
    with suppress(subprocess.TimeoutExpired):
        return child.communicate(stdin, timeout=limit)[0], False
    child.send_signal(signal.SIGQUIT)  # it prints the stacks of its threads, see worker/boot.py
    with suppress(subprocess.TimeoutExpired):
        return child.communicate(timeout=last_words)[0], True
    _kill_all()  # whatever holds its output open too
    return child.communicate()[0], True


def _kill_all() -> None:
    kill_descendants(spare=frozenset({os.getpid()}))
