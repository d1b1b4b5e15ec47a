"""What waits for a socket to take more bytes: the task that writes, and those who should not add to what is written."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import socket

    from svcd_ipc.outbox import Outbox


async def write(outbox: Outbox, sock: socket.socket) -> None:
    """Write what was joined, and what the kernel did not take at once, until cancelled."""
    while True:
        await outbox.bell.wait()
        outbox.push()
        while outbox.is_blocked:
            with suppress(trio.ClosedResourceError):  # See `Reader.interrupt`.
                await trio.lowlevel.wait_writable(sock)
            outbox.push()


async def room(outbox: Outbox) -> None:
    """Wait until no more than LOW_WATER bytes wait to be written."""
    while (bell := outbox.hold_up()) is not None:
        await bell.wait()
