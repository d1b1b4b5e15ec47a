"""The other end of `NOTIFY_SOCKET`: hears what a program says of itself by the protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import trio

if TYPE_CHECKING:
    from collections.abc import Collection

_CREDENTIALS = struct.Struct("iII")
"""struct ucred of unix(7): pid, user id, group id."""
_LONGEST = 4096
"""Bytes of a message; systemd takes no more either."""


class NotifySocket:
    """A datagram socket at a path, of which one program is told."""

    def __init__(self, path: str, users: Collection[int]) -> None:
        """Bind it. users: the ids of those who are believed; root is besides."""
        self.path = path
        self._users = {0, *users}
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - paths of sockets are text all through
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            bound.bind(path)
            os.chmod(path, 0o666)  # noqa: PTH101, S103 - who sends is told by the kernel with each message
            self._socket = trio.socket.from_stdlib_socket(bound)
        except BaseException:
            bound.close()
            raise

    def __repr__(self) -> str:
        """Where it is."""
        return f"<NotifySocket {self.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear nothing more, and remove the path."""
        self._socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 - as above

    async def receive(self) -> dict[str, str]:
        """Return the fields of the next message of somebody who is believed, such as `{"READY": "1"}`."""
        while True:
            data, ancillary, _, _ = await self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    _, user, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                    if user in self._users:
                        return _fields(data)


def _fields(data: bytes) -> dict[str, str]:
    lines = (line.partition("=") for line in data.decode(errors="replace").splitlines())
    return {name: value for name, mark, value in lines if mark}
