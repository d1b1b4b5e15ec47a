"""A thread that reads a connection in the event loop's place, and runs the calls that block itself.

A call that blocks needs a thread that is not the loop's. To hand it to one, and its result back, takes two switches of
threads, each a wake-up: more than all the rest of a call. Where such calls come one after the other over one
connection, and the loop has nothing else to do, a thread *stands in*: it waits for the connection, runs what comes, and
answers, while the loop sleeps (the leader of Schmidt et al., "Leader/Followers", 2000; here there is one connection
to lead). That ends when the loop has anything else to do, at the latest after `loopstate`'s longest sleep. A call that
runs then goes on in its thread, and is the loop's from there on like any other.

Law: what belongs to the loop is touched by the loop's own thread while no turn lasts, and else by whoever holds the
turn's lock and has seen, after it took the lock, that the turn is not over. The thread lets go of the lock while it
sleeps in the kernel and while it runs a call. One that finds the turn over by then raises `Recalled`, and touches
nothing more.
"""

from __future__ import annotations

import os
import select
from contextvars import copy_context
from threading import Lock
from typing import TYPE_CHECKING, Final

from trio.lowlevel import current_task

from svcd_ipc.kernelwait import Heard, KernelWait
from svcd_ipc.loopstate import LoopState

if TYPE_CHECKING:
    from svcd_ipc.callee import Callee, Serving
    from svcd_ipc.calls import Blocking, Threads
    from svcd_ipc.reader import Reader

_LONGEST = 1.0
"""Seconds that a thread sleeps at most; the loop ends its turn long before. Tests set this and the last, which so are
not Final, as mypyc writes the value of those into the code."""

_WORTH_IT: Final = 8
"""Calls answered in one turn that are worth the two wake-ups which it takes to begin and to end it."""

_LONGEST_PAUSE = 1024
"""Most waits without a turn after one that came to nothing."""


class Recalled(BaseException):
    """The turn is over: the loop does the rest, and may be doing it already."""


class Deputy:
    """The turns of one connection. All this is for the loop's thread."""

    def __init__(self, reader: Reader, callee: Callee, threads: Threads) -> None:
        self._reader = reader
        self._callee = callee
        self._threads = threads
        self._skip = 0
        self._pause = 1

    def is_worth_it(self) -> bool:
        """Whether the calls of late were such as a thread might as well have waited for, and one is free."""
        if not self._threads.is_worth_it():
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def stand_in(self) -> Serving | None:
        """Let a thread read and answer until the loop has something to do; return the call that it is still at."""
        loop = self._reader.receiver.loop
        seconds = loop.idle_for()
        if not seconds:
            return None
        try:
            turn = Turn(self._reader, self._callee, loop)
        except OSError:  # No descriptors are left.
            self._skip = _LONGEST_PAUSE
            return None
        turn.begin()
        self._threads.lend(turn.run)
        try:
            turn.wait(seconds)
        finally:
            serving = turn.end()
        if turn.answered >= _WORTH_IT:
            self._pause = 1
        else:
            self._skip = self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if turn.error is not None:
            raise turn.error
        return serving


class Turn:
    """One time that a thread stands in for the loop. Raises OSError where descriptors have run out."""

    def __init__(self, reader: Reader, callee: Callee, loop: LoopState) -> None:
        self._reader = reader
        self._callee = callee
        self._loop = loop
        self._fd = reader.fd
        self._task = current_task()
        self._context = copy_context()
        self._lock = Lock()
        self._until = loop.next_deadline()
        """When the loop wakes by itself."""
        self.is_over = False
        """Set by the loop, before it takes the lock."""
        self._has_left = False
        self._serving: Serving | None = None
        self._blocking: Blocking | None = None
        """What the thread runs without the lock."""
        self._is_busy = False
        """A call is not answered yet. To answer it may find that the connection has ended, and calls before the end."""
        self.answered = 0
        self.error: BaseException | None = None
        """What the thread found, and is the loop's to raise."""
        self._recall = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Wakes the thread. Closed by the thread, as `_wait` is."""
        try:
            self._word = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            """Wakes the loop. Closed by the loop, as `_watched` is."""
            try:
                self._watched = select.epoll()
                """What the loop sleeps on; the connection is among it while the thread runs a call."""
                self._watched.register(self._word, select.EPOLLIN)
                self._watched.register(loop.epoll, select.EPOLLIN)
                self._watched.register(self._fd, 0)
            except OSError:
                os.close(self._word)
                raise
        except OSError:
            os.close(self._recall)
            raise
        self._wait = _TurnWait(self, self._fd, self._recall)

    # The loop's

    def begin(self) -> None:
        """Have the reader wait as the thread does."""
        receiver = self._reader.receiver
        self._own = receiver.swap(self._wait.state, self._wait)
        self._reader.turn = self

    def wait(self, seconds: float) -> None:
        """Sleep until the loop has something to do."""
        self._watched.poll(seconds)

    def end(self) -> Serving | None:
        """Go on in the loop, and return the call that the thread still runs, to be waited for."""
        self.is_over = True
        with self._lock:
            if not self._has_left:
                os.eventfd_write(self._recall, 1)
        self._watched.close()
        os.close(self._word)
        self._reader.turn = None
        self._reader.receiver.swap(*self._own)
        serving, blocking = self._serving, self._blocking
        self._serving = self._blocking = None
        if serving is None or blocking is None or self._callee.go_on_blocking(serving, blocking):
            return None
        return serving

    # The thread's

    def run(self) -> None:
        """Stand in, until there is something that only the loop can do, or until it goes on by itself."""
        try:
            with self._lock:
                try:
                    if not self.is_over:
                        self._context.run(self._stand_in)
                finally:
                    self._has_left = True
        except Recalled:
            pass
        finally:
            self._wait.close()
            os.close(self._recall)

    def _stand_in(self) -> None:
        self._loop.enter(self._task)
        try:
            self._reader.go_on()
        except Recalled:
            raise
        except BaseException as error:  # noqa: BLE001 - the loop raises it
            self.error = error
        finally:
            self._loop.leave()
        if not self.is_over:  # Else it is awake.
            os.eventfd_write(self._word, 1)

    def is_loop_wanted(self) -> bool:
        """Whether it goes on already, but for the lock, or something was done that it has to go on with."""
        return self.is_over or self._loop.has_work_before(self._until)

    def serve(self, serving: Serving) -> bool:
        """Run a call to its answer if it is one that blocks; False when it is the loop's. Raises Recalled."""
        if self._is_busy:
            return False
        blocking = self._callee.begin_blocking(serving)
        if blocking is None:
            return serving.has_begun
        self._is_busy = True
        self._run_unlocked(serving, blocking)
        if (running := self._callee.end_blocking(serving, blocking)) is not None:
            self._reader.give_on(serving, running)
        self._is_busy = False
        self.answered += 1
        return True

    def _run_unlocked(self, serving: Serving, blocking: Blocking) -> None:
        self._serving, self._blocking = serving, blocking
        self._watched.modify(self._fd, select.EPOLLIN)  # What comes meanwhile is the loop's.
        if self.is_loop_wanted():  # The call's own deadline may be the next.
            os.eventfd_write(self._word, 1)
        self._loop.leave()
        self._lock.release()
        try:
            blocking.run()
        finally:
            self._lock.acquire()
        if self.is_over:
            blocking.hand_over()
            raise Recalled
        self._loop.enter(self._task)
        self._watched.modify(self._fd, 0)
        self._serving = self._blocking = None

    def sleep(self, wait: KernelWait) -> Heard:
        """Sleep in the kernel, while the loop may go on. Raises Recalled."""
        self._lock.release()
        try:
            heard = wait.sleep_now()
        finally:
            self._lock.acquire()
        if self.is_over:
            raise Recalled
        return heard


class _TurnState(LoopState):
    """As the loop looks to whoever stands in for it: it has nothing to do until it calls."""

    def __init__(self, recall: int) -> None:
        super().__init__()
        self.is_alone = True
        self.epoll = recall

    def idle_for(self) -> float:
        return _LONGEST

    def is_idle(self) -> bool:
        return True


class _TurnWait(KernelWait):
    """The waits of a thread that stands in."""

    def __init__(self, turn: Turn, fd: int, recall: int) -> None:
        self.state = _TurnState(recall)
        super().__init__(fd, self.state)
        self._turn = turn

    def sleep(self) -> Heard:
        return self._turn.sleep(self)
