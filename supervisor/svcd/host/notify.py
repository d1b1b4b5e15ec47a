"""Tell systemd how the service is: the protocol of sd_notify(3), one datagram of NAME=VALUE lines."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def notify(environ: Mapping[str, str], **fields: str | int) -> bool:
    """Send fields such as `READY=1`, `STATUS="2 of 3 ready"`, `STOPPING=1`, `MAINPID=42`; False when nobody listens.

    Never raises: a service manager that has gone is no reason for a service to fail.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in {"/", "@"}:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name in the abstract namespace
    message = "".join(f"{name}={_one_line(value)}\n" for name, value in fields.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        sender.connect(address)
        sender.send(message.encode())
        return True
    return False


def _one_line(value: str | int) -> str:
    return str(value).replace("\n", " ")
