"""Which parts of an arena are free: pure bookkeeping in pages, first fit from the low end.

From the low end, so that the pages that were once written to are used again before others are: the memory of an arena
is taken up page by page as it is written to, and cannot be given back. So it takes up what lies below `reached`, and
that is bound by `most`, what was taken at one time at the busiest, and not by time: with neighbours joined, parts of
one size reach `most` and not beyond, and parts whose sizes differ by a factor of n at most reach `most` times log2(n)
or so in the worst order (J. M. Robson, "Worst case fragmentation of first fit and best fit storage allocation
strategies", The Computer Journal 20, 1977; best fit: times n), in a usual one 1.1 to 1.5 times (`make soak`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

PAGE: Final = 4096
"""Bytes; parts start and end at multiples of it, so that no two share a page."""


class Space:
    """The free parts of `size` bytes, sorted, no two of them adjacent."""

    def __init__(self, size: int) -> None:
        self.size = size // PAGE * PAGE
        self._starts = [0] if self.size else []
        self._sizes = [self.size] if self.size else []
        self._taken: dict[int, int] = {}
        """By start."""
        self.used = 0
        """Bytes that are taken."""
        self.most = 0
        """Bytes that were taken at one time, at most."""
        self.reached = 0
        """Where the highest part ended that was ever taken."""

    def __repr__(self) -> str:
        return f"<Space {self.used} of {self.size} bytes used in {len(self._taken)} parts>"

    def take(self, size: int) -> int | None:
        """Return the start of a part of at least `size` bytes, or None where no free part is as large."""
        wanted = max(PAGE, -(-size // PAGE) * PAGE)
        index = next((index for index, free in enumerate(self._sizes) if free >= wanted), None)
        if index is None:
            return None
        start = self._starts[index]
        if self._sizes[index] == wanted:
            del self._starts[index], self._sizes[index]
        else:
            self._starts[index] += wanted
            self._sizes[index] -= wanted
        self._taken[start] = wanted
        self.used += wanted
        self.most = max(self.most, self.used)
        self.reached = max(self.reached, start + wanted)
        return start

    def give_back(self, start: int) -> None:
        """Free the part that starts there and join it with free neighbours. Raises KeyError when none was taken."""
        size = self._taken.pop(start)
        self.used -= size
        index = bisect_left(self._starts, start)
        if index < len(self._starts) and self._starts[index] == start + size:
            self._starts[index] = start
            self._sizes[index] += size
        else:
            self._starts.insert(index, start)
            self._sizes.insert(index, size)
        before = index - 1
        if index and self._starts[before] + self._sizes[before] == start:
            self._sizes[before] += self._sizes[index]
            del self._starts[index], self._sizes[index]
