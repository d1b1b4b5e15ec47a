"""Waiting in the kernel for what a thread does, instead of in the event loop.

To give a small function to a thread and to park in the loop takes three passes of it and a wake-up by trio's socket:
more than the function and two switches of threads. A loop that has nothing else to do may as well wait for the thread
itself: for its word, for what would wake the loop, and for the connection that the call came by, until the loop's next
deadline. Whichever comes first ends it; then the call waits like any other. `svcd_ipc.loopstate` says when that is so.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from svcd_ipc.kernelwait import Polled
from svcd_ipc.loopstate import LoopState, of_this_run

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_SKIPPED = 64
"""Waits that are left out at most after one that came to nothing, doubled from one each time."""


class HandBack:
    """One loop's place to wait for its service threads. `word` is an eventfd(2).

    That is closed with the last who holds this, as a thread may say its word when all others are gone.
    """

    def __init__(self, state: LoopState, word: int) -> None:
        self._state = state
        self._word = word
        self._said = [(word, select.POLLIN)]
        self._polled = Polled(state)
        self._skip = 0
        self._pause = 1

    def __repr__(self) -> str:
        return f"<HandBack [{self._skip} to skip]>"

    def __del__(self) -> None:
        os.close(self._word)

    @classmethod
    def of_this_loop(cls) -> HandBack | None:
        """Return one for the loop that runs here; None where there is no waiting but in it, or no descriptor left."""
        state = of_this_run()
        if state.epoll >= 0:
            with suppress(OSError):
                return cls(state, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        return None

    def is_worth_it(self) -> bool:
        """Whether to wait here now: the loop has nothing else to do, and it came off of late."""
        if self._skip:
            self._skip -= 1
            return False
        return self._state.idle_for() > 0

    def say(self) -> None:
        """Wake the loop, from a thread."""
        os.eventfd_write(self._word, 1)

    def wait(self, has_ended: Callable[[], bool]) -> None:
        """Wait until a thread has said its word and it `has_ended`, or until something else comes up."""
        is_said = True
        while is_said and (seconds := self._state.idle_for()):
            is_said = self._polled.wait(self._word, seconds) == self._said
            if is_said:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._word)
            if has_ended():  # else it was the word of an earlier one, for which nobody waited to the end
                self._pause = 1
                return
        self._skip = self._pause = min(2 * self._pause, _MOST_SKIPPED)
