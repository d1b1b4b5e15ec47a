"""What the two ends of one connection have lent to each other, and the references by which they speak of it.

    side (0: the sender's arena, 1: the receiver's), slot, start within the arena, bytes      <BQQQ

Whoever receives a reference to the sender's slot holds a lease on it, one per reference, and gives it back when no view
of it is left. A view of the peer's arena goes back to that peer as a reference to its own slot, for which it need hold
no new lease. A peer that breaks these rules ends its connection and harms nothing else.
"""

from __future__ import annotations

import sys
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from svcd_ipc.bell import Bell
from svcd_ipc.buffers import LEND
from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.mapping import Mapping, window_of
from svcd_ipc.memory import Departed, Memory
from svcd_ipc.raw import address_of, move

if TYPE_CHECKING:
    from collections.abc import Iterable

REFERENCE: Final = Struct("<BQQQ")
_MINE, _YOURS = 0, 1
_MOST_RETURNS: Final = 1000
"""Slots given back in one message."""


class Sharing:
    """The lending of one connection. `lifeline` is the end of a pipe whose other end the peer's mapping keeps open."""

    def __init__(self, memory: Memory, lifeline: int) -> None:
        self.memory = memory
        self._lifeline = lifeline
        self._lent: dict[int, int] = {}
        """References to each slot of ours that the peer holds."""
        self._theirs: Mapping | None = None
        self.may_lend = False
        """The peer has mapped our arena."""
        self.notes: deque[int] = deque()
        """Slots of the peer of which a view here is gone; to be given back."""
        self.borrowed = 0
        """References to slots of the peer that are not given back."""
        self.has_borrowed = Bell()
        """Rung when the first of them comes."""

    def __repr__(self) -> str:
        return f"<Sharing [{sum(self._lent.values())} lent, {self.borrowed} borrowed]>"

    def attach(self, theirs: Mapping) -> None:
        """Take the peer's arena."""
        self._theirs = theirs

    # What goes out

    def would_copy(self, array: Any) -> bool:
        """Tell whether lending an array means to copy it."""
        if not self.may_lend or array.dtype.kind not in "biufc":
            return False
        window = window_of(array) if array.flags.c_contiguous else None
        return window is None or not (window.mapping is self._theirs or self.memory.slot_of(array) is not None)

    def lend(self, value: Any) -> bytes | None:
        """Return a reference to the bytes of an array or memoryview in C order, copied unless they lie in an arena.

        None when they have to travel with the frame.
        """
        window = window_of(value) if is_flat(value) else None
        if window is not None and window.mapping is self._theirs:
            return REFERENCE.pack(_YOURS, window.number, window.mapping.offset_of(value), value.nbytes)
        if not self.may_lend or value.nbytes < LEND:
            return None
        if window is not None and self.memory.slot_of(value) is not None:
            self.memory.hold(window.number)
            return self._reference(window.number, window.mapping.offset_of(value), value.nbytes)
        found = self.memory.take(value.nbytes)
        if found is None:
            return None
        slot, room = found
        fill(room, value)
        return self._reference(slot.number, slot.start, value.nbytes)

    def take_back(self, references: Iterable[bytes]) -> None:
        """Forget references that were not sent after all."""
        for reference in references:
            side, number, _, _ = REFERENCE.unpack(reference)
            if side == _MINE:
                self._give_back(number)

    def returns(self) -> list[int]:
        """Return what is to be given back next."""
        notes = self.notes
        numbers = [notes.popleft() for _ in range(min(len(notes), _MOST_RETURNS))]
        self.borrowed -= len(numbers)
        return numbers

    # What came

    def borrow(self, reference: bytes | memoryview) -> memoryview:
        """Return the bytes that the peer refers to, read-only. Raises RemoteProtocolError for what it may not."""
        side, number, start, size = _unpack(reference)
        if side == _YOURS:
            if number not in self._lent:
                raise RemoteProtocolError(f"the peer referred to slot {number}, which it does not hold")
            try:
                return self.memory.view(number, start, size)
            except ValueError as error:
                raise RemoteProtocolError(f"the peer sent a bad reference: {error}") from None
        theirs = self._theirs
        if theirs is None:
            raise RemoteProtocolError("the peer referred to memory that it has not handed over")
        if start + size > theirs.size:
            raise RemoteProtocolError(
                f"the peer referred to bytes {start} to {start + size} of its arena, which has {theirs.size}"
            )
        if not self.borrowed:
            self.has_borrowed.ring()
        self.borrowed += 1
        return theirs.view(start, size, number, self.notes)

    def expect(self, size: int) -> None:
        """Get pages of our arena ready, aside: whoever is called with a large array is likely to answer with one."""
        if self.may_lend:
            self.memory.expect(size)

    def refuse(self, reference: bytes | memoryview) -> None:
        """Give back what came in a message that cannot be read here."""
        side, number, _, _ = _unpack(reference)
        if side == _MINE:
            self.borrowed += 1
            self.notes.append(number)

    def take_returns(self, numbers: list[int]) -> None:
        """Let go of slots that the peer gives back. Raises RemoteProtocolError for one that it does not hold."""
        for number in numbers:
            if number not in self._lent:
                raise RemoteProtocolError(f"the peer gave back slot {number}, which it does not hold")
            self._give_back(number)

    def end(self) -> None:
        """Lend no more: the connection has ended. What the peer has views of stays held while it has them."""
        self.may_lend = False
        self._theirs = None
        if self._lifeline >= 0:
            self.memory.depart(Departed(self._lifeline, self._lent))
            self._lifeline, self._lent = -1, {}

    def _reference(self, number: int, start: int, size: int) -> bytes:
        """Count a reference; the slot is held for it already."""
        self._lent[number] = self._lent.get(number, 0) + 1
        return REFERENCE.pack(_MINE, number, start, size)

    def _give_back(self, number: int) -> None:
        left = self._lent[number] - 1
        if left:
            self._lent[number] = left
        else:
            del self._lent[number]
        self.memory.release((number,))


def _unpack(reference: bytes | memoryview) -> tuple[int, int, int, int]:
    if len(reference) != REFERENCE.size or reference[0] > _YOURS:
        raise RemoteProtocolError("the peer sent a reference to memory that is none")
    return REFERENCE.unpack(reference)


def is_flat(value: Any) -> bool:
    """Whether the bytes of an array or memoryview lie in one piece, in C order."""
    return bool(value.c_contiguous if isinstance(value, memoryview) else value.flags.c_contiguous)


def fill(room: memoryview, value: Any, *, is_there: bool = False) -> Any:
    """Copy an array or a flat memoryview to memory of its size, unless it is there; return that as the same kind."""
    if isinstance(value, memoryview):
        if not is_there:
            move(address_of(room), value)  # Unlike an assignment it lets go of the GIL.
        return room
    numpy = sys.modules["numpy"]
    copied = numpy.frombuffer(room, value.dtype).reshape(value.shape)
    if not is_there:
        numpy.copyto(copied, value)
    return copied
