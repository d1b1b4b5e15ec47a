"""The guard: the keeper's parent, which does nothing but wait for one of its neighbours to end.

Daemon, guard and keeper are subreapers one above the other. Whichever two of them are killed at once, all that the
app ever started is below the third, and the third ends it. Where the app outlives its daemon for a while, the keeper
says so, and hands over the link to each daemon that takes over.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress

from svcd.host.processes import become_subreaper, kill_descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from svcd.host.remains import Remains

GRACE = 0.5
"""Seconds that the keeper has to end everything in order when the daemon has gone."""
_LONGEST = 4096
"""Bytes of a message: what it is about, and a path or seconds as text."""


class GuardLine:
    """The keeper's end of its line to the guard, and a pidfd of it."""

    def __init__(self, line: socket.socket, pidfd: int) -> None:
        self._line = line
        self.pidfd = pidfd

    def allow(self, seconds: float) -> None:
        """Have it wait for so many seconds more when the daemon goes."""
        self._send(f"allow {seconds}".encode(), [])

    def remember(self, family: str) -> None:
        """Have it know of a family of control groups that may be left."""
        self._send(os.fsencode(f"family {family}"), [])

    def watch(self, link: socket.socket) -> None:
        """Have it watch this link, that of a new daemon, in place of the last."""
        self._send(b"link", [link.fileno()])

    def _send(self, text: bytes, descriptors: list[int]) -> None:
        with suppress(OSError):  # it has ended; its pidfd says so
            socket.send_fds(self._line, [text], descriptors)


def fork_under_guard(link: int, remains: Remains) -> GuardLine:
    """Fork the keeper and stay behind as its guard, never to return; in the keeper, return the line to the guard.

    `link` is the descriptor of the socket to the daemon: its hang-up says that the daemon has gone. `remains` are swept
    by the guard when it has ended all else.
    """
    become_subreaper()
    guard = os.pidfd_open(os.getpid())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = os.fork()
    if keeper == 0:
        theirs.close()
        become_subreaper()  # not inherited over fork
        return GuardLine(ours, guard)
    try:
        ours.close()
        os.close(guard)
        status = _Watch(keeper, link, theirs, remains).run()
    except BaseException:  # noqa: BLE001 - nothing may unwind into the frames that both halves share
        status = 1
    finally:
        kill_descendants()
        with suppress(BaseException):  # as above
            remains.sweep()
        os._exit(status)


class _Watch:
    """What the guard waits for."""

    def __init__(self, keeper: int, link: int, line: socket.socket, remains: Remains) -> None:
        self._keeper = keeper
        self._link = link
        self._line = line
        self._remains = remains
        self._grace = 0.0
        self._end: float | None = None
        """When the keeper has to have ended, once the daemon is gone."""
        self._poll = select.poll()

    def run(self) -> int:
        """Return the exit status to leave with once the keeper has ended, or has not though the daemon is gone."""
        keeper_ended = os.pidfd_open(self._keeper)
        self._poll.register(keeper_ended, select.POLLIN)
        self._poll.register(self._link, select.POLLRDHUP)
        self._poll.register(self._line, select.POLLIN)
        while True:
            ready = dict(self._poll.poll(None if self._end is None else max(0.0, self._end - time.monotonic()) * 1000))
            if keeper_ended in ready:
                with suppress(OSError):
                    while self._hear(socket.MSG_DONTWAIT):  # what it said last
                        pass
                break
            if not ready:
                return 1
            if self._link in ready:
                self._poll.unregister(self._link)
                self._end = time.monotonic() + self._grace + GRACE
            if self._line.fileno() in ready:
                self._hear()
        # The daemon is to hear of the keeper's end at once, not after the killing: this is the last copy of its socket.
        os.close(self._link)
        with suppress(ChildProcessError):
            _, status = os.waitpid(self._keeper, 0)
            return 0 if status == 0 else 1
        return 1

    def _hear(self, flags: int = 0) -> bool:
        """Take a word of the keeper's; False when there is to be no other. Raises OSError."""
        text, descriptors, *_ = socket.recv_fds(self._line, _LONGEST, 1, flags)
        if descriptors:
            with suppress(KeyError):  # its hang-up was seen
                self._poll.unregister(self._link)
            os.close(self._link)
            (self._link,) = descriptors
            self._end = None
            self._poll.register(self._link, select.POLLRDHUP)
            return True
        what, _, value = os.fsdecode(text).partition(" ")
        match what:
            case "allow":
                self._grace = float(value)
            case "family":
                self._remains.add(value)
            case "":
                with suppress(KeyError):  # heard before
                    self._poll.unregister(self._line)
                return False
        return True
