"""A short-lived child of a command, which ends with the command and leaves nothing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from svcd.host.processes import become_subreaper, kill_descendants, set_pdeathsig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def run_child(argv: Sequence[str], stdin: bytes, *, env: Mapping[str, str], cwd: Path) -> tuple[int, list[str]]:
    """Run it to its end; return (exit code or minus signal, lines of its output). Raises OSError if it cannot start.

    To be called in the main thread of a program without other children: all that the child started is killed.
    """
    become_subreaper()
    child = subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=set_pdeathsig,  # noqa: PLW1509 - this program has one thread
    )
    try:
        output, _ = child.communicate(stdin)
    except BaseException:
        child.kill()
        raise
    finally:
        kill_descendants(spare=frozenset({os.getpid()}))
    return child.returncode, output.decode(errors="replace").splitlines()
