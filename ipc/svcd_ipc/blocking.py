"""Waiting for one socket in the kernel, while the event loop has nothing else to do.

To park costs a pass of the event loop on the way back; after a sleep, with cold caches, that is much of a call between
two cores. Where no other task of the run can go on, all that the loop would do is sleep in epoll_wait(2), until one of
its descriptors is ready or its next deadline comes. So the task sleeps in its place: on its own socket and on the
loop's epoll descriptor, which is ready when one of those is, until the same deadline. If its own socket has bytes it
goes on at once; if not, it parks after all, and the loop does what it would have done.

To be woken takes longer than most answers. The kernel tells a Unix socket's writer when its bytes are read, as there is
room again: an edge of EPOLLOUT (`unix_write_space` in net/unix/af_unix.c). Whoever waits wakes up then, while the peer
is at work, and looks for the answer for `SOON`. That is about what it costs to fall asleep and to be woken, so that at
worst twice of it is spent (Karlin et al., "Empirical studies of competitive spinning for a shared-memory
multiprocessor", 1991). Where the answer takes longer, or both share a core, that is tried ever more rarely.

What this needs of trio is not public: the loop's epoll descriptor, its deadlines, and whether a task is scheduled.
Where they are not found (another version of trio), where the loop does not own its thread (guest mode) and where its
clock is not the system's (tests), nobody is ever alone, and all tasks park.
"""

from __future__ import annotations

import select
from contextlib import suppress
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from trio.lowlevel import RunVar, add_instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SOON: Final = 80e-6
"""Seconds for which bytes are looked for once the peer has read what it was sent: what a sleep and its end take between
two cores of a virtual machine. With 50 µs a lone call of a `def` api takes 114 µs, with 80 µs 52: its callee hands it
to a thread and back. A call of an api that makes a call itself takes 137 and 80."""

_LONGEST: Final = 0.05
"""Seconds after which the loop has a pass all the same, for whatever it may see that this does not."""

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


class Holder(Protocol):
    """A connection that nobody reads for as long as a call that came over it runs in place."""

    fd: int
    is_crowded: bool
    """More came with that call, and waits for it."""


class Blocking:
    """What the waits in the kernel of one run of trio have in common."""

    def __init__(self) -> None:
        self.is_alone = False
        """The task that runs is the only one of this pass of the loop. Kept by an instrument of trio's."""
        self.holders: list[Holder] = []
        """Those whose call runs in place now, outermost first."""
        self.hearers: list[KernelWait] = []
        """Connections that are woken when the peer reads."""
        self.loop = -1
        """The loop's epoll descriptor; -1 where there is none to be had."""
        self._runq: Collection[Any] = ()
        self._waiting_for_idle: Collection[Any] = ()
        self._time_left: Callable[[], float] = _none_left
        self._look = select.poll()

    def start(self, runner: Any) -> None:
        """Take what is needed of the loop. Raises AttributeError where it is not there."""
        if runner.is_guest or not isinstance(runner.clock, _trio().SystemClock):
            return
        next_deadline, current_time = runner.deadlines.next_deadline, runner.clock.current_time
        self._runq = runner.runq
        self._waiting_for_idle = runner.waiting_for_idle
        self._time_left = lambda: next_deadline() - current_time()
        self.loop = runner.io_manager._epoll.fileno()  # noqa: SLF001 - see above
        self._look.register(self.loop, select.POLLIN)
        add_instrument(_Passes(self))

    @property
    def hearing(self) -> int:
        """How many connections are woken when the peer reads."""
        return len(self.hearers)

    def begin_pass(self) -> None:
        """Note who runs in the pass of the loop that begins now."""
        self.is_alone = len(self._runq) == 1 and self._time_left() > 0

    def may_last(self) -> float:
        """Return for how many seconds the loop would do nothing but wait; 0 when it has something to do."""
        if not self.is_alone or self._runq or self._waiting_for_idle:
            return 0.0
        for holder in self.holders:
            if holder.is_crowded:
                return 0.0
        left = self._time_left()
        if left <= 0 or trio.current_effective_deadline() == -inf:
            return 0.0
        return min(left, _LONGEST)

    def is_idle(self) -> bool:
        """Tell whether a pass of the loop would find nothing to do."""
        return self.may_last() > 0 and not self._look.poll(0)


class KernelWait:
    """The waits of one connection, whose socket is `fd`. After a READ say by `note` whether it has helped."""

    def __init__(self, fd: int, blocking: Blocking) -> None:
        self._fd = fd
        self._blocking = blocking
        self._reads: select.epoll | None = None
        """While it is there, the peer's reading ends a wait. Of the edges that came meanwhile it remembers one."""
        self._skip = 0
        self._pause = 1
        self._polled: list[int] = []
        self._poll = select.poll()
        self.has_others = False
        """When the last wait ended there was something for the loop, too, or for a holder."""

    def sleep(self) -> Heard:
        """Wait for the peer. All that had come must have been received."""
        self.has_others = False
        seconds = self._blocking.may_last()
        if not seconds:
            return Heard.ELSE
        if self._skip:
            self._skip -= 1
        elif self._reads is None:
            self._hear_reads()
        reads = self._reads
        if reads is None:
            return self._told(self._poll_on(self._fd).poll(1000 * seconds))
        if not self._blocking.holders:
            return self._told(reads.poll(seconds))
        number = reads.fileno()
        ready = self._poll_on(number).poll(1000 * seconds)
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
            self._blocking.hearers.remove(self)

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

    def _poll_on(self, first: int) -> select.poll:
        """Return a poll object for `first`, the loop and the holders. It knows numbers only, so it may be kept."""
        wanted = [first, self._blocking.loop]
        wanted += [holder.fd for holder in self._blocking.holders]
        if wanted != self._polled:
            self._polled = wanted
            self._poll = select.poll()
            for fd in wanted:
                self._poll.register(fd, select.POLLIN)
        return self._poll

    def _hear_reads(self) -> None:
        if self._blocking.hearing >= _MOST_HEARING:  # The one that began first may not have been used since.
            self._blocking.hearers[0].close()
        try:
            reads = select.epoll()
            reads.register(self._fd, _READS)
            reads.register(self._blocking.loop, select.EPOLLIN)
        except OSError:  # No descriptors are left: those there are have better uses.
            self._skip = _LONGEST_PAUSE
        else:
            self._reads = reads
            self._blocking.hearers.append(self)


class _Passes(trio.abc.Instrument):
    """Tells of each pass of the loop, between its look at the descriptors and the first task that goes on."""

    def __init__(self, blocking: Blocking) -> None:
        self._begin = blocking.begin_pass

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - the hook's
        self._begin()


_of_run: Final = RunVar[Blocking]("svcd_ipc.blocking")


def of_this_run() -> Blocking:
    """Return the one of this run of trio."""
    try:
        return _of_run.get()
    except LookupError:
        made = Blocking()
        _of_run.set(made)
        with suppress(AttributeError, ImportError):
            made.start(_trio().GLOBAL_RUN_CONTEXT.runner)
        return made


def _trio() -> Any:
    from trio._core import _run  # noqa: PLC0415 - it may not be there, as it is not public

    return _run


def _none_left() -> float:
    return 0.0
