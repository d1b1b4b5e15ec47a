"""TCP sockets that listen, and who holds a port that is taken."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from svcd.host.processes import all_pids, read_stat

_BACKLOG = 1024
_LISTEN = "0A"
"""TCP_LISTEN as /proc/net/tcp writes it (include/net/tcp_states.h)."""


class ListenError(Exception):
    """An address could not be bound."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number
        self.message = message


def listen(host: str, port: int) -> socket.socket:
    """Bind a TCP socket, non-blocking and listening. Raises ListenError, which names the holder of the port."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise ListenError(errno.EINVAL, f"cannot listen on {where}: a port is a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(error.errno or 0, f"cannot listen on {where}: {error.strerror or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(error.errno, f"{where} is already in use{_by(port)}") from error
        raise ListenError(error.errno or 0, f"cannot listen on {where}: {error.strerror}") from error
    return bound


def _by(port: int) -> str:
    holder = holder_of(port)
    return f" by {holder[1]} (pid {holder[0]})" if holder else ""


def holder_of(port: int) -> tuple[int, str] | None:
    """Return (pid, name) of a process that listens on a TCP port; None when it cannot be seen (another user's, say)."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not wanted:
        return None
    for pid in sorted(all_pids()):
        if wanted & _sockets(pid) and (stat := read_stat(pid)):
            return pid, stat.name
    return None


def _listening_inodes(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port, on whatever address (Documentation/networking/proc_net_tcp.rst)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table, encoding="ascii") as lines:  # noqa: PTH123 - pathlib is a tenth of the keeper's start
            next(lines)
            for fields in map(str.split, lines):
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                found.add(os.readlink(entry.path))  # noqa: PTH115 - as above
    return found
