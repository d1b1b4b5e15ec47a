"""How much of a stream its producer may send before the consumer has consumed what came."""

from __future__ import annotations

from collections import deque
from typing import Final

STREAM_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a stream that may be under way to a consumer that has not consumed them; one item may always be."""


class Window:
    """What the producer of a stream may still send."""

    __slots__ = ("credit", "sizes", "under_way")

    def __init__(self, credit: int) -> None:
        self.credit = credit
        """Items."""
        self.sizes: deque[int] = deque()
        """Of the items that were sent and not consumed yet."""
        self.under_way = 0
        """Their sum."""

    def take(self, size: int) -> None:
        """Count an item that is sent."""
        self.credit -= 1
        self.sizes.append(size)
        self.under_way += size

    def give(self, count: int) -> None:
        """Let as many more items be sent, in the place of those consumed first."""
        self.credit += count
        for _ in range(min(count, len(self.sizes))):
            self.under_way -= self.sizes.popleft()

    @property
    def is_open(self) -> bool:
        """Whether one more item may be sent."""
        return self.credit > 0 and self.under_way < STREAM_BYTES
