"""Waiting in the kernel for what a thread does, instead of in the event loop.

To give a small function to a thread and to park in the loop takes three passes of it and a wake-up by trio's socket:
more than the function and two switches of threads. A loop that has nothing else to do may as well wait for the thread
itself, in poll(2): for the thread's word, for anything that would wake the loop, and for the connection that the call
came by. Whichever comes first, or a millisecond, ends it: then the call waits like any other, and nothing was missed.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trio._core import _run  # the loop's descriptor and what it runs next are nowhere public: `HandBack.of_this_loop`

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

LONGEST = 1
"""Milliseconds for which a loop waits so, and so for which a timer of its may be late: the least that poll(2) has."""
_MOST_SKIPPED = 64
"""Waits that are left out at most after one that came to nothing, doubled from one each time."""


class HandBack:
    """One loop's place to wait for its service threads.

    The word's descriptor is closed with the last who holds this, as a thread may say it when all others are gone.

    Args:
        loop: Descriptor that is readable when the loop has something to do.
        runnable: What the loop would run next.
        word: An eventfd(2).
    """

    def __init__(self, loop: int, runnable: Collection[Any], word: int) -> None:
        self._runnable = runnable
        self._word = self._socket = word
        self._said = [(word, select.POLLIN)]
        self._poll = select.poll()
        self._poll.register(loop, select.POLLIN)
        self._poll.register(word, select.POLLIN)
        self._skip = 0
        self._pause = 1

    def __repr__(self) -> str:
        return f"<HandBack [{self._skip} to skip]>"

    def __del__(self) -> None:
        os.close(self._word)

    @classmethod
    def of_this_loop(cls) -> HandBack | None:
        """Return one for the loop that runs here; None where that is not as it is known, or no descriptor is left."""
        try:
            runner = _run.GLOBAL_RUN_CONTEXT.runner
            loop, runnable = runner.io_manager._epoll.fileno(), runner.runq  # noqa: SLF001 - see the import
            return cls(loop, runnable, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        except (AttributeError, OSError):
            return None

    def is_worth_it(self) -> bool:
        """Whether to wait here now: the loop has nothing else to do, and it came off of late."""
        if self._skip:
            self._skip -= 1
            return False
        return not self._runnable

    def say(self) -> None:
        """Wake the loop, from a thread."""
        os.eventfd_write(self._word, 1)

    def wait(self, socket: int, has_ended: Callable[[], bool]) -> None:
        """Wait until a thread has said its word and it `has_ended`, or until something else comes up."""
        if socket != self._socket:
            if self._socket != self._word:
                self._poll.unregister(self._socket)
            self._poll.register(socket, select.POLLIN)
            self._socket = socket
        is_said = True
        while is_said:
            is_said = self._poll.poll(LONGEST) == self._said
            if is_said:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._word)
            if has_ended():  # else it was the word of an earlier one, for which nobody waited to the end
                self._pause = 1
                return
        self._skip = self._pause = min(2 * self._pause, _MOST_SKIPPED)
