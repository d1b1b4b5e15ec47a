"""One look at a program from outside: does it accept a connection, does it answer a GET.

Each look returns what is amiss, in words, or "" when nothing is. It has no limit of its own: the caller's scope is it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    Where = str | tuple[str, int]
    """Path of a Unix socket, or host and port."""

_LONGEST_LINE = 4096
"""Bytes of an answer in which its first line has to end; servers and proxies take 8 KiB for the whole head."""


async def accepts(where: Where) -> str:
    """Look whether a connection is accepted."""
    try:
        stream = await _connect(where)
    except OSError as error:
        return f"{_named(where)} does not accept a connection: {_reason(error)}"
    await trio.aclose_forcefully(stream)
    return ""


async def answers(where: Where, path: str) -> str:
    """Look whether a GET of a path is answered with a status of 200 to 399."""
    try:
        stream = await _connect(where)
    except OSError as error:
        return f"{_named(where)} does not accept a connection: {_reason(error)}"
    host = "localhost" if isinstance(where, str) else f"{where[0]}:{where[1]}"
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: svcd\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        await stream.send_all(request.encode("latin-1", "replace"))
        line = await _first_line(stream)
    except (OSError, trio.BrokenResourceError) as error:
        return f"GET {path} was not answered: {_reason(error)}"
    finally:
        await trio.aclose_forcefully(stream)
    status = _status(line)
    if status is None:
        return f"GET {path} was answered with something that is no HTTP" if line else f"GET {path} was not answered"
    return "" if 200 <= status < 400 else f"GET {path} was answered {status}"


async def _connect(where: Where) -> trio.SocketStream:
    if isinstance(where, str):
        return await trio.open_unix_socket(where)
    connecting = trio.socket.socket()
    try:
        await connecting.connect(where)
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(connecting)


async def _first_line(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < _LONGEST_LINE and (piece := await stream.receive_some(_LONGEST_LINE)):
        data += piece
    return data.partition(b"\n")[0]


def _status(line: bytes) -> int | None:
    """The status of a status line (RFC 9112, 4): `HTTP/1.1 200 OK`."""
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    return int(code) if version.startswith(b"HTTP/1.") and len(code) == 3 and code.isdigit() else None


def _named(where: Where) -> str:
    return where if isinstance(where, str) else f"{where[0]}:{where[1]}"


def _reason(error: Exception) -> str:
    cause = error if isinstance(error, OSError) else error.__cause__
    return os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(error)
