"""What happened, to whoever wants to hear it; a listener that stalls loses its oldest news, never anybody's time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from svcd.values.events import Change

KEPT = 1000
"""Changes that a listener may be behind, and that a late listener can still be told."""


class Bus:
    """Changes of all replicas, in order."""

    def __init__(self) -> None:
        self._numbered: deque[tuple[int, Change]] = deque(maxlen=KEPT)
        self._count = 0
        self._news = trio.Event()

    def __repr__(self) -> str:
        """How many changes there have been."""
        return f"<Bus {self._count} changes>"

    @property
    def news(self) -> trio.Event:
        """Set with the next change; take it before looking at what may change."""
        return self._news

    def tell(self, change: Change) -> None:
        """Append a change and wake the listeners."""
        self._numbered.append((self._count, change))
        self._count += 1
        self.wake()

    def wake(self) -> None:
        """Have the listeners look again, though there is no change."""
        self._news.set()
        self._news = trio.Event()

    async def listen(
        self, *, past: bool = False, until: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[Change, None]:
        """Give every change from now on, or with `past` from the oldest still kept.

        Ends when `until` says so, which is asked with each change and each `wake`.
        """
        seen = -1 if past else self._count - 1
        while True:
            news = self._news
            for number, change in [item for item in self._numbered if item[0] > seen]:
                seen = number
                yield change
            if self._numbered and self._numbered[-1][0] > seen:
                continue
            if until():
                return
            await news.wait()
