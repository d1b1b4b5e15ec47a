"""Serve calls on a Unix socket: one channel per connection."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd_ipc.calls import Handler

_PATH_LIMIT = 107
"""Bytes of a socket path: sun_path has 108, and the kernel wants a closing zero."""

_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RETRY = 0.1
"""Seconds until accepting is tried again when descriptors or memory ran short."""


def listen(path: str | os.PathLike[str], *, backlog: int = 128, mode: int | None = None) -> socket.socket:
    """Return a listening Unix socket at `path`; a socket file that a dead process left there is removed.

    mode: permissions of the file; who may write to it may connect. What the umask leaves unless given.

    Raises ValueError for a path that is too long, OSError (EADDRINUSE) when a living process listens there.
    """
    text = os.fspath(path)
    if (size := len(os.fsencode(text))) > _PATH_LIMIT:
        raise ValueError(
            f"{text}: a socket path may have {_PATH_LIMIT} bytes, this one has {size}; use a shorter folder"
        )
    _remove_stale(text)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(text)
        if mode is not None:
            Path(text).chmod(mode)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


async def serve(
    listener: socket.socket | trio.SocketListener,
    handler: Handler | None,
    *,
    identity: Mapping[str, Any],
    on_channel: Callable[[Channel], None] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    **options: Any,
) -> None:
    """Accept connections until cancelled; the listener is closed then. `options` are keyword arguments of `Channel`.

    `on_channel` gets each channel whose peer has said hello and was welcomed.
    """
    accepting = (
        listener.socket if isinstance(listener, trio.SocketListener) else trio.socket.from_stdlib_socket(listener)
    )
    with accepting:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                sock = await _accept(accepting)
                channel = Channel(sock, identity=identity, handler=handler, speaks_first=False, **options)
                nursery.start_soon(_run, channel, on_channel)


async def _run(channel: Channel, on_channel: Callable[[Channel], None] | None) -> None:
    if on_channel is None:
        await channel.run()
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        if channel.peer is not None:
            on_channel(channel)


async def _accept(accepting: trio.socket.SocketType) -> trio.socket.SocketType:
    """Return the next connection; one that went away again, or a shortage, is no reason to stop serving."""
    while True:
        try:
            sock, _ = await accepting.accept()
        except OSError as error:
            if error.errno in _SHORTAGE:
                await trio.sleep(_RETRY)
            elif error.errno != errno.ECONNABORTED:
                raise
        else:
            return sock


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on; anything else at the path is left for bind to complain about."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            return
