"""Waiting for one descriptor in the kernel, while the event loop has nothing else to do.

To park costs a pass of the event loop on the way back; after a sleep, with cold caches, that is much of a call between
two cores. So a task that is alone (`loopstate`) sleeps in the loop's place: on its own socket and on the loop's epoll
descriptor, which is ready when one of the loop's is, until the loop's next deadline. If its own socket has bytes it
goes on at once; if not, it parks after all, and the loop does what it would have done.

To be woken takes longer than most answers. The kernel tells a Unix socket's writer when its bytes are read, as there is
room again: an edge of EPOLLOUT (`unix_write_space` in net/unix/af_unix.c). Whoever waits wakes up then, while the peer
is at work, and looks for the answer for `SOON`. That is about what it costs to fall asleep and to be woken, so that at
worst twice of it is spent (Karlin et al., "Empirical studies of competitive spinning for a shared-memory
multiprocessor", 1991). Where the answer takes longer, or both share a core, that is tried ever more rarely.
"""

from __future__ import annotations

import select
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from svcd_ipc.loopstate import LoopState

SOON: Final = 80e-6
"""Seconds for which bytes are looked for once the peer has read what it was sent: what a sleep and its end take between
two cores of a virtual machine. With 50 µs a lone call of a `def` api takes 114 µs, with 80 µs 52: its callee hands it
to a thread and back. A call of an api that makes a call itself takes 137 and 80."""

_LONGEST_PAUSE: Final = 4096
"""Most waits in a row of which a connection does not want to be woken when the peer reads."""

_MOST_HEARING: Final = 16
"""Connections of one run that are woken when the peer reads; each has a descriptor for it."""

_OWN: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
"""Of poll(2) these have the same values."""

_READS: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET


class Heard(Enum):
    """Why a wait is over."""

    BYTES = auto()
    """There is something to receive, or the end of it."""
    READ = auto()
    """The peer has just read what was sent before: it is awake, and may be about to answer."""
    ELSE = auto()
    """The loop has something to do, or time is up."""


class Polled:
    """A set of descriptors for poll(2): one of the caller's, the loop's, and those of the holders."""

    def __init__(self, state: LoopState) -> None:
        self._state = state
        self._fds: list[int] = []
        self._poll = select.poll()

    def wait(self, fd: int, seconds: float) -> list[tuple[int, int]]:
        """Return which are ready, and for what, as soon as one is; none after so many seconds."""
        fds = [fd, self._state.epoll]
        fds += [holder.fd for holder in self._state.holders]
        if fds != self._fds:
            self._fds = fds
            self._poll = select.poll()  # It knows numbers only, so it may be kept.
            for each in fds:
                self._poll.register(each, select.POLLIN)
        return self._poll.poll(1000 * seconds)


class KernelWait:
    """The waits of one connection, whose socket is `fd`. After a READ say by `note` whether it has helped."""

    def __init__(self, fd: int, state: LoopState) -> None:
        self._fd = fd
        self._state = state
        self._reads: select.epoll | None = None
        """While it is there, the peer's reading ends a wait. Of the edges that came meanwhile it remembers one."""
        self._skip = 0
        self._pause = 1
        self._polled = Polled(state)
        self.has_others = False
        """When the last wait ended there was something for the loop, too, or for a holder."""

    def sleep(self) -> Heard:
        """Wait for the peer. All that had come must have been received."""
        return self.sleep_now()

    def sleep_now(self) -> Heard:
        """Be the wait itself, where others do something around it."""
        self.has_others = False
        seconds = self._state.idle_for()
        if not seconds:
            return Heard.ELSE
        if self._skip:
            self._skip -= 1
        elif self._reads is None:
            self._hear_reads()
        reads = self._reads
        if reads is None:
            return self._told(self._polled.wait(self._fd, seconds))
        if not self._state.holders:
            return self._told(reads.poll(seconds))
        number = reads.fileno()
        ready = self._polled.wait(number, seconds)
        return self._told([*reads.poll(0), *[each for each in ready if each[0] != number]])

    def note(self, has_helped: bool) -> None:
        """Say whether bytes came soon after the peer had read."""
        if has_helped:
            self._pause = 1
        else:
            self._pause = self._skip = min(2 * self._pause, _LONGEST_PAUSE)
            self.close()

    def close(self) -> None:
        """Let go of what is held open."""
        if self._reads is not None:
            self._reads.close()
            self._reads = None
            self._state.hearers.remove(self)

    def _told(self, events: list[tuple[int, int]]) -> Heard:
        heard = Heard.ELSE
        for fd, what in events:
            if fd != self._fd:
                self.has_others = True
            elif what & _OWN:
                heard = Heard.BYTES
            else:
                heard = Heard.READ
        return heard

    def _hear_reads(self) -> None:
        if len(self._state.hearers) >= _MOST_HEARING:  # The one that began first may not have been used since.
            self._state.hearers[0].close()
        try:
            reads = select.epoll()
            reads.register(self._fd, _READS)
            reads.register(self._state.epoll, select.EPOLLIN)
        except OSError:  # No descriptors are left: those there are have better uses.
            self._skip = _LONGEST_PAUSE
        else:
            self._reads = reads
            self._state.hearers.append(self)
