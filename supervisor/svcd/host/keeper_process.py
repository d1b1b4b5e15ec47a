"""The daemon's side of the keeper as a process: starting it, and making sure of its end."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from svcd.host.processes import become_subreaper, kill_descendants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

KEEPER_ARGV: Final = (sys.executable, "-P", "-m", "svcd.keeper")
"""The keeper of an installed svcd; the packed program gives its own. `-P`: the working folder is not on its path."""


def start_keeper(
    argv_prefix: Sequence[str] = KEEPER_ARGV,
    *,
    runtime: str = "",
    env: Mapping[str, str] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start guard and keeper; return the guard, which ends when both have, and our end of the link.

    They and all that they start are one session, without a terminal. Linux shares the CPU out between sessions first
    where it groups by session (sched(7), autogroup): with one for each replica, a service's `nice` would mean nothing,
    and a replica that gives way to its caller would give way to nobody.

    This process becomes a subreaper: when guard and keeper are both killed, what they kept is ours to end
    (`end_keeper`). To be called in the main thread, before trio runs.
    """
    become_subreaper()
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            guard = subprocess.Popen(
                [*argv_prefix, str(theirs.fileno()), runtime],
                pass_fds=[theirs.fileno()],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return guard, ours


def end_keeper(guard: subprocess.Popen[bytes], *, patience: float = 2.0, limit: float = 10.0) -> list[int]:
    """See to it that nothing is left of guard, keeper and all they kept; blocks. For after the link has ended.

    They have `patience` seconds to end by themselves, then everything below this process is killed. Returns the pids
    that survived SIGKILL for `limit` seconds; [] is what to expect.
    """
    try:
        guard.wait(patience)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait(limit)
    return kill_descendants(timeout=limit)
