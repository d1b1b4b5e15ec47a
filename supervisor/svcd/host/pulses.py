"""Reads the pulses of workers: files that they own, so that nothing in them is taken for granted."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from svcd.host.processes import read_stat
from svcd.values import pulse

if TYPE_CHECKING:
    from svcd.values.pulse import Pulse

# It may belong to another user, who may have put a pipe or a link there.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_pulse(path: str) -> Pulse | None:
    """Return the pulse at a path, None when there is none that can be read."""
    with suppress(OSError):
        descriptor = os.open(path, _FLAGS)
        try:
            # Read and not mapped: whoever shortens a file ends those that have mapped it.
            return pulse.read(os.pread(descriptor, pulse.SIZE, 0))
        finally:
            os.close(descriptor)
    return None


def state_of(pid: int) -> str:
    """Return the state of a process as one letter of proc_pid_stat(5); "" when there is none."""
    stat = read_stat(pid)
    return stat.state if stat else ""
