"""TCP ports for programs: free ones, below those that the kernel lends to connections that go out.

Nobody can reserve a port for a process that is yet to start. What can be done is to choose where nobody else is
likely to: a port of the kernel's ephemeral range may become the source of any connection in the meantime.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.host.ports import holder_of
from svcd.host.processes import descendants, environment_of

if TYPE_CHECKING:
    from collections.abc import Container

_LOWEST = 20_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 1000


class NoFreePortError(OSError):
    """All that were tried are taken."""


class PortTakenError(OSError):
    """The one port that it has to be belongs to somebody else."""


def choose_port(host: str, taken: Container[int]) -> int:
    """Return a port that is free now and not in `taken`. Raises NoFreePortError."""
    highest = max(_first_ephemeral() - 1, _LOWEST)
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, highest)  # noqa: S311 - it guards nothing
        if port not in taken and is_free(host, port):
            return port
    raise NoFreePortError(f"no free port was found between {_LOWEST} and {highest}")


def is_free(host: str, port: int) -> bool:
    """Whether a program could listen there now. Connections of an earlier one that linger (TIME_WAIT) do not count."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
        return True


def holder_outside(port: int, pid: int | None, process_id: str) -> str:
    """Say who listens on a port, when that is nobody below `pid` or marked as of `process_id`; "" otherwise.

    A listener that cannot be seen, of another user say, gets the benefit of the doubt. Reads all of /proc.
    """
    holder = holder_of(port)
    if holder is None or holder[0] == pid or environment_of(holder[0], "SVCD_REPLICA") == process_id:
        return ""
    if pid is not None and holder[0] in set(descendants(pid)):
        return ""
    return f"its port {port} is in use by {holder[1]} (pid {holder[0]})"


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768  # the kernel's default, Documentation/networking/ip-sysctl.rst
