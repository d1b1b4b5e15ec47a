"""Connect to a Unix socket on which a peer serves."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.channel import Channel
from svcd_ipc.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike


async def connect(
    path: str | PathLike[str],
    *,
    nursery: trio.Nursery,
    identity: Mapping[str, Any] | None = None,
    **options: Any,
) -> Channel:
    """Return a channel that runs in `nursery`, once both sides have said hello.

    `options` are the keyword arguments of `Channel`. Raises ServiceUnavailable when nobody listens or the peer refuses.
    """
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.connect(path)
    except OSError as error:
        sock.close()
        raise ServiceUnavailable(f"{path}: cannot connect: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    channel = Channel(sock, identity=identity or {}, **options)
    await nursery.start(channel.run)
    if channel.closed.is_set() and channel.peer is None:
        raise ServiceUnavailable(f"{path}: {channel.close_reason}") from channel.close_reason
    return channel
