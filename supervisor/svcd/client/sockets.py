"""What the connections of both clients do to their sockets."""

from __future__ import annotations

import select
import socket
import struct

READ = 256 * 1024
"""Bytes that are read from a socket at once."""


def is_quiet(connected: socket.socket) -> bool:
    """Whether the other side still holds an idle connection; what comes unasked is its farewell."""
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    return not poll.poll(0)


def reset_when_closed(connected: socket.socket) -> None:
    """Have a close in the middle of a call drop what waits in buffers.

    Those would keep the end from being seen by an app that reads no more for the moment.
    """
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
