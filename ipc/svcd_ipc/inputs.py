"""The state of arguments that are streams, on both sides of one connection; no socket here.

The caller names them in its call. It feeds an item only once the callee wants one: before that nothing of the argument
has been touched, so that a call that was not started can go to another replica with the very same iterators. What is
said about a call that has been answered, or let go of, may have crossed that on its way, and is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from svcd_ipc.errors import LocalProtocolError, RemoteProtocolError
from svcd_ipc.window import Window

if TYPE_CHECKING:
    from svcd_ipc.messages import Fed, Feed, Want

_COMPLETE: Final = -1
"""In place of a credit: nothing more comes."""


class Inputs:
    """Which inputs are open in which direction, and what may be said about them."""

    def __init__(self) -> None:
        self.mine: dict[int, list[Window | None]] = {}
        """Of calls of this side: what each input may still be fed; None once it is complete."""
        self.theirs: dict[int, list[int]] = {}
        """Of calls of the peer: how many items of each input may still come."""

    # What came

    def take_feed(self, feed: Feed) -> None:
        """Check an item of an open call of the peer."""
        credits_ = self._of_theirs(feed)
        if credits_[feed.input] <= 0:
            raise RemoteProtocolError(f"the peer fed call {feed.id} what it did not want")
        credits_[feed.input] -= 1

    def take_fed(self, fed: Fed) -> None:
        """Check the end of an input of an open call of the peer."""
        credits_ = self._of_theirs(fed)
        if credits_[fed.input] == _COMPLETE:
            raise RemoteProtocolError(f"the peer completed input {fed.input} of call {fed.id} twice")
        credits_[fed.input] = _COMPLETE

    def take_want(self, want: Want) -> bool:
        """Check what the peer wants of an open call of this side; False when there is no more of it."""
        windows = self.mine.get(want.id, ())
        if want.input >= len(windows):
            raise RemoteProtocolError(f"the peer wanted input {want.input} of call {want.id}, which has none such")
        window = windows[want.input]
        if window is not None:
            window.give(want.count)
        return window is not None

    def _of_theirs(self, said: Feed | Fed) -> list[int]:
        credits_ = self.theirs.get(said.id, [])
        if said.input >= len(credits_):
            raise RemoteProtocolError(f"the peer spoke of input {said.input} of call {said.id}, which has none such")
        return credits_

    # What to say

    def open(self, number: int, count: int) -> None:
        """Note a call of this side with so many inputs."""
        self.mine[number] = [Window(0) for _ in range(count)]

    def may_feed(self, number: int, index: int) -> bool:
        """Tell whether the callee wants one more item."""
        windows = self.mine.get(number)
        window = windows[index] if windows is not None else None
        return window is not None and window.is_open

    def feed(self, number: int, index: int, size: int) -> None:
        """Count an item of so many bytes that is sent."""
        window = self.mine[number][index]
        if window is not None:
            window.take(size)

    def complete(self, number: int, index: int) -> None:
        """Note that an input is complete. Raises LocalProtocolError when it was, or its call is not open."""
        windows = self.mine.get(number, [])
        if index >= len(windows) or windows[index] is None:
            raise LocalProtocolError(f"input {index} of call {number} is not open")
        windows[index] = None

    def want(self, number: int, index: int, count: int) -> bool:
        """Count what is wanted; False when nothing more can come."""
        credits_ = self.theirs.get(number)
        if credits_ is None or credits_[index] == _COMPLETE:
            return False
        credits_[index] += count
        return True
