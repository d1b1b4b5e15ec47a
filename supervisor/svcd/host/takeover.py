"""The daemon's side of a keeper that an earlier daemon left: taking it over, and making sure of its end.

It is no descendant of this process: what it keeps is found below its guard while that lives, and by the mark that a
keeper leaves on all that it ever starts after (host/descent.py).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgpack

from svcd import __version__
from svcd.host.descent import mark_of
from svcd.host.processes import all_pids, become_subreaper, descendants, environment_of, kill, read_stat
from svcd.values.errors import TakeOverError
from svcd.values.orders import LINK_VERSION, Attach, Greeting, Linger, pack
from svcd_ipc.errors import ProtocolError
from svcd_ipc.frames import FrameReader
from svcd_ipc.frames import pack as frame

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_LIMIT = 5.0
"""Seconds for a keeper to greet whoever comes to take it over."""
_PAUSE = 0.02
"""Seconds between passes of a killing."""
_UNREADABLE = (OSError, ValueError, ProtocolError, msgpack.UnpackException)
"""What it comes to when whoever answers is no keeper, or none that can be read."""
_CREDENTIALS = struct.Struct("iII")
"""struct ucred of unix(7): pid, user id, group id."""


class KeptGuard:
    """The guard of a keeper that was taken over: known by a pidfd, as it is not this process's child."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when there is no such process."""
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        mark = mark_of(pid)
        self.mark = mark.keeper if mark else None
        """What all that it guards is known by; None for one that has no mark."""

    def __repr__(self) -> str:
        """Which."""
        return f"<KeptGuard {self.pid}>"

    def wait(self, timeout: float) -> bool:
        """Wait for its end; False when it lives on after so many seconds."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def kill(self) -> None:
        """SIGKILL."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def take_over(path: str) -> tuple[KeptGuard, socket.socket]:
    """Attach to the keeper that waits at `path`; return its guard, and our end of the link. Blocks.

    Raises TakeOverError, in which case nothing was touched.
    """
    become_subreaper()
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        link.settimeout(ANSWER_LIMIT)
        link.connect(path)
        greeting = _greeting(link)
        _check_version(greeting)
        guard = KeptGuard(greeting.guard)
        keeper = read_stat(_peer(link))
        if keeper is None or keeper.parent != guard.pid:
            raise ValueError("it is no keeper")
        link.sendall(frame(msgpack.packb(pack(Attach(LINK_VERSION)))))
        link.settimeout(None)
    except _UNREADABLE as error:
        link.close()
        raise TakeOverError(
            f"the app runs without a daemon, and its keeper at {path} does not let this one take over: {error};"
            " nothing was touched, `svcd down` ends it"
        ) from error
    except BaseException:
        link.close()
        raise
    return guard, link


def no_longer_outlive(link: socket.socket) -> None:
    """Have the keeper end everything when this link is closed, if it was to outlive its daemon; never blocks."""
    link.setblocking(False)
    with suppress(OSError):  # a link that takes no more is full of orders that no daemon stands behind
        link.sendall(frame(msgpack.packb(pack(Linger(0.0, "", __version__)))))


def end_kept(guard: KeptGuard, app: str, *, patience: float = 2.0, limit: float = 10.0) -> list[int]:
    """As `keeper_process.end_keeper`, for one that was taken over. app: its name."""
    if not guard.wait(patience):
        below = [stat for pid in descendants(guard.pid) if (stat := read_stat(pid))]
        guard.kill()  # the keeper ends everything with it
        guard.wait(limit)
        kill(below, sparing=os.getpgrp())
    end = time.monotonic() + limit
    empty = 0
    while empty < 2:  # a process that was made while they were listed may be missed once, and is not missed twice
        left = list(_left_of(app, guard.mark))
        empty = 0 if left else empty + 1
        kill([stat for pid in left if (stat := read_stat(pid))], sparing=os.getpgrp())
        if time.monotonic() > end:
            return left
        if left:
            time.sleep(_PAUSE)
    return []


def end_orphan(path: str) -> bool:
    """End an app that runs without a daemon, at once; False when there is none at `path`, or it does not end. Blocks.

    Of whatever version its keeper is: its guard ends everything when the keeper is killed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link:
        try:
            link.connect(path)
            keeper = read_stat(_peer(link))
            if keeper is None:
                return False
            guard = KeptGuard(keeper.parent)
            os.kill(keeper.pid, signal.SIGKILL)  # it listens at this socket, and so the pid is its own still
        except OSError:
            return False
    return guard.wait(ANSWER_LIMIT)


def grace_left(path: str) -> float | None:
    """Return for how many seconds more the keeper at `path` goes on without a daemon; None when it doesn't say. Blocks.

    Any version may be asked; only one that waits for a daemon answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link, suppress(*_UNREADABLE):
        link.settimeout(ANSWER_LIMIT)
        link.connect(path)
        match _first_word(link):
            case ["Greeting", int(), str(), int(), float(left), *_]:
                return left
    return None


def _greeting(link: socket.socket) -> Greeting:
    """Read who is there; a later version may say more."""
    match _first_word(link):
        case ["Greeting", int(version), str(svcd), int(guard), *_]:
            return Greeting(version, svcd, guard)
    raise ValueError("it greets in no known way")


def _first_word(link: socket.socket) -> object:
    reader = FrameReader()
    while (body := reader.next_frame()) is None:
        data = link.recv(4096)
        if not data:
            raise ConnectionResetError("it hung up")
        reader.feed(data)
    return msgpack.unpackb(body)


def _check_version(keeper: Greeting) -> None:
    if keeper.version != LINK_VERSION:
        raise TakeOverError(
            f"the app runs without a daemon, under a keeper of svcd {keeper.svcd} that svcd {__version__} can't take"
            f" over (its link has version {keeper.version}, this one's {LINK_VERSION}); nothing was touched:"
            f" `svcd up` of svcd {keeper.svcd} takes it over, `svcd down` ends it"
        )


def _peer(link: socket.socket) -> int:
    """The pid of who listens at the socket that this one is connected to."""
    pid: int = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
    return pid


def _left_of(app: str, mark: int | None) -> Iterator[int]:
    """Processes that have a keeper's mark, or that an app's environment tells apart where they have none."""
    for pid in all_pids():
        if pid != os.getpid() and (_is_marked(pid, mark) or _is_of(pid, app)):
            stat = read_stat(pid)
            if stat is not None and stat.state not in {"Z", "X"}:
                yield pid


def _is_marked(pid: int, keeper: int | None) -> bool:
    mark = mark_of(pid)
    return mark is not None and mark.keeper == keeper


def _is_of(pid: int, app: str) -> bool:
    return environment_of(pid, "SVCD_APP") == app and environment_of(pid, "SVCD_REPLICA") is not None
