"""The outbound arena of one process: the memory in which it shows arrays to its peers.

A slot is a part of the arena. It is held by each window on it in this process and by each reference that a peer has
been sent and has not given back; when nothing holds it, it is used again. Any thread may make arrays in the arena, so a
lock guards the books; the finalizers of windows do not take it, but note the number of the slot they let go of.
"""

from __future__ import annotations

import os
import select
from collections import deque
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from svcd_ipc.buffers import LEND
from svcd_ipc.codec import on_array
from svcd_ipc.mapping import Mapping, create, window_of
from svcd_ipc.space import PAGE, Space

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

DEFAULT_SIZE: Final = 1 << 30
"""Bytes of an arena unless told otherwise; only what was written to takes up memory."""


class Slot:
    """A part of the arena that is in use."""

    __slots__ = ("holds", "number", "size", "start")

    def __init__(self, number: int, start: int, size: int) -> None:
        self.number = number
        """Its own for ever: no later slot has it, wherever that lies."""
        self.start = start
        self.size = size
        self.holds = 0


class Departed(NamedTuple):
    """What a peer held when its connection ended; it may have views of it still."""

    lifeline: int
    """Hangs up when the peer has no view left, be it that it has died."""
    lent: dict[int, int]


class Memory:
    """The arena and its books. It is made when it is first needed; where that fails, nothing is shared."""

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self.size = size // PAGE * PAGE
        self.reason: str | None = None if self.size else "the arena is switched off (its size is 0)"
        """Why there is no arena."""
        self._lock = Lock()
        self._pid = os.getpid()
        self._descriptor = -1
        self._mapping: Mapping | None = None
        self._space = Space(self.size)
        self._slots: dict[int, Slot] = {}
        self._last = 0
        self._notes: deque[int] = deque()
        """Slots of which a window of this process has let go."""
        self._departed: list[Departed] = []

    def __repr__(self) -> str:
        return f"<Memory {self.reason or f'{self.used} of {self.size} bytes used by {len(self._slots)} slots'}>"

    @property
    def used(self) -> int:
        """Bytes of slots that something holds, here or at a peer."""
        with self._lock:
            self._tidy()
            return self._space.used

    @property
    def most(self) -> int:
        """Bytes of slots that were held at one time, at most."""
        return self._space.most

    @property
    def reached(self) -> int:
        """Bytes at its low end that slots have lain in: it takes up no more, but for pages got ahead. See `space`."""
        return self._space.reached

    @property
    def descriptor(self) -> int:
        """Its memfd, or -1 when there is no arena; see `reason`."""
        return self._descriptor if self._open() is not None else -1

    def take(self, size: int) -> tuple[Slot, memoryview] | None:
        """Return a new slot, held once, and its bytes to be filled, or None when there is no room.

        The bytes are for use while the slot is held; nothing made of them holds it.
        """
        mapping = self._open()
        if mapping is None:
            return None
        with self._lock:
            self._tidy()
            start = self._space.take(size)
            if start is None:
                return None
            self._last += 1
            slot = self._slots[self._last] = Slot(self._last, start, size)
            slot.holds = 1
        return slot, mapping.bytes_at(start, size)

    def allocate(self, size: int) -> tuple[Slot, memoryview] | None:
        """Return a new slot and a writable view, which holds it, or None when there is no room."""
        found = self.take(size)
        if found is None or self._mapping is None:
            return None
        slot = found[0]
        return slot, self._mapping.view(slot.start, size, slot.number, self._notes)

    def populate(self, slot: Slot) -> None:
        """Get the pages of a slot that is about to be filled."""
        if self._mapping is not None:
            self._mapping.populate(slot.start, slot.size)

    def is_populated(self, slot: Slot) -> bool:
        """Whether the pages of a slot are there."""
        return self._mapping is not None and self._mapping.is_populated(slot.start + slot.size)

    def expect(self, size: int) -> None:
        """Get pages for so many bytes ahead, aside; see `Mapping.populate_ahead`."""
        if (mapping := self._open()) is not None:
            mapping.populate_ahead(min(size, self.size))

    def slot_of(self, value: Any) -> Slot | None:
        """Return the slot in which the bytes of a view or array lie, or None when they do not lie in this arena."""
        window = window_of(value)
        if window is None or window.mapping is not self._mapping:
            return None
        return self._slots[window.number]  # There is one: this window holds it.

    def hold(self, number: int) -> None:
        """Hold a slot that is held already once more."""
        with self._lock:
            self._slots[number].holds += 1

    def release(self, numbers: Iterable[int]) -> None:
        """Let go of slots, once for each time that they are named."""
        with self._lock:
            self._release(numbers)

    def view(self, number: int, start: int, size: int) -> memoryview:
        """Return a read-only view of bytes of a slot, which holds it.

        Raises ValueError when they do not lie within the slot.
        """
        slot, mapping = self._slots.get(number), self._mapping
        if slot is None or mapping is None or not slot.start <= start <= start + size <= slot.start + slot.size:
            raise ValueError(f"bytes {start} to {start + size} are not within slot {number}")
        self.hold(number)
        return mapping.view(start, size, number, self._notes).toreadonly()

    def depart(self, departed: Departed) -> None:
        """Keep what a peer whose connection has ended still holds until its lifeline hangs up."""
        with self._lock:
            self._departed.append(departed)
            self._tidy()

    def close(self) -> None:
        """Forget the arena: nothing more is lent. What shows it stays as it is."""
        with self._lock:
            self.reason = self.reason or "the arena was closed"
            if self._mapping is not None:
                self._mapping.settle()
            self._mapping = None
            for departed in self._departed:
                os.close(departed.lifeline)
            self._departed.clear()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _open(self) -> Mapping | None:
        """Return the mapping, made now where it is the first time."""
        if self._pid != os.getpid():
            return None  # A fork: the books are its parent's.
        if self._descriptor < 0 and self.reason is None:
            with self._lock:
                self._make()
        return self._mapping

    def _make(self) -> None:
        """Make the arena, unless another thread has been quicker; the lock is held."""
        if self._descriptor < 0:
            try:
                self._descriptor, self._mapping = create(self.size)
            except OSError as error:
                self.reason = f"no arena could be made: {error}"

    def _tidy(self) -> None:
        """Take note of what was let go of; the lock is held."""
        notes = self._notes
        while notes:
            self._release((notes.popleft(),))
        if self._departed:
            gone = _hung_up([each.lifeline for each in self._departed])
            for departed in [each for each in self._departed if each.lifeline in gone]:
                self._departed.remove(departed)
                os.close(departed.lifeline)
                self._release(number for number, count in departed.lent.items() for _ in range(count))

    def _release(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            slot = self._slots[number]
            slot.holds -= 1
            if not slot.holds:
                del self._slots[number]
                self._space.give_back(slot.start)


def _hung_up(descriptors: list[int]) -> set[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, 0)
    return {descriptor for descriptor, _ in poll.poll(0)}


_ours: Memory | None = None


def of_process() -> Memory:
    """Return the memory of this process."""
    global _ours  # noqa: PLW0603 - there is one per process, and a fork gets its own
    if _ours is None or _ours._pid != os.getpid():  # noqa: SLF001 - this module's own class
        _ours = Memory()
    return _ours


def set_size(size: int) -> None:
    """Let this process have an arena of so many bytes; 0: none. To be said before anything is shared."""
    global _ours  # noqa: PLW0603 - as above
    _ours = Memory(size)


def empty(shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray[Any, Any]:
    """Return a new array in the arena of this process, to be filled and then sent: the hop does not copy it.

    As `numpy.empty`, in C order. Once it, or a part of it, is sent it can no longer be written to here, as those who
    receive it see the same memory. A small array, or one for which the arena has no room, is an ordinary one.
    """
    import numpy  # noqa: ICN001, PLC0415 - a process that makes no arrays never pays for it

    if _freeze not in on_array:
        on_array.append(_freeze)
    kind = numpy.dtype(dtype)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    size = prod(sizes) * kind.itemsize
    if kind.kind in "biufc" and size >= LEND and (found := of_process().allocate(size)):
        of_process().populate(found[0])
        return numpy.frombuffer(found[1], kind).reshape(sizes)
    return numpy.empty(sizes, kind)


def _freeze(array: Any) -> None:
    """Let nobody write to an array of the arena that is sent, nor to those it is a view of."""
    import numpy  # noqa: ICN001, PLC0415 - as above

    if _ours is None or _ours.slot_of(array) is None:
        return
    while isinstance(array, numpy.ndarray):
        array.flags.writeable = False
        array = array.base
