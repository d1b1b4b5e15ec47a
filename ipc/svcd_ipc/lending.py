"""What the sans-I/O core knows of shared memory: what is asked of a `Lender`, and what the two sides say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from svcd_ipc.codec import Borrowed
from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.messages import MEMORY, Arena, Hello, Kind, Return, Taken

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from svcd_ipc.messages import Event
    from svcd_ipc.writer import Chunks, FrameWriter

_ARENA, _TAKEN = int(Kind.ARENA), int(Kind.TAKEN)


class Lender(Protocol):
    """The end of a connection that knows what was lent over it: see `sharing`."""

    @property
    def notes(self) -> Collection[int]:
        """What is to be given back."""

    def lend(self, value: Any) -> bytes | None:
        """Return a reference to an array or a flat memoryview, or None when it cannot be lent."""

    def take_back(self, references: Iterable[bytes]) -> None:
        """Forget references that were not sent after all."""

    def returns(self) -> list[int]:
        """Return what is to be given back next."""

    def borrow(self, reference: bytes) -> memoryview:
        """Return the bytes that a reference speaks of."""

    def refuse(self, reference: bytes) -> None:
        """Give back what a reference speaks of."""

    def expect(self, size: int) -> None:
        """Be ready to lend as much as was borrowed for a call."""

    def take_returns(self, slots: list[int]) -> None:
        """Let go of what the peer gives back."""


class MemoryTalk:
    """The part of a connection that is about shared memory."""

    peer: Hello | None
    _writer: FrameWriter

    def __init__(self) -> None:
        self._lender: Lender | None = None
        self._borrowed: Borrowed | None = None
        self.notes: Collection[int] = ()
        """What is no longer used here of the peer's arena; whatever is said next gives it back."""
        self._capabilities: list[str] = []
        self._awaited: set[type[Event]] = set()
        """What the peer says once, and has not said yet."""

    def share(self, lender: Lender) -> None:
        """Let values refer to shared memory from now on; both sides have to have the capability."""
        self._lender = lender
        self._borrowed = Borrowed(lender)
        self._writer.share(lender)
        self.notes = lender.notes
        self._awaited = {Arena, Taken}

    @property
    def may_share(self) -> bool:
        """Tell whether both sides have said that they can share memory."""
        return MEMORY in self._capabilities and self.peer is not None and MEMORY in self.peer.capabilities

    def send_arena(self, size: int) -> Chunks:
        """Hand over this side's arena; its descriptors have to go with these bytes. 0: there is none."""
        return self._writer.frame([_ARENA, size])

    def send_taken(self, reason: str | None) -> Chunks:
        """Say that the peer's arena can be used here, or why not."""
        return self._writer.frame([_TAKEN, reason])

    def send_returns(self) -> Chunks:
        """Give back what is no longer used of the peer's arena. No bytes when there is nothing."""
        return self._writer.returns()

    def _take_once(self, event: Arena | Taken) -> bool:
        if type(event) not in self._awaited:
            raise RemoteProtocolError(f"the peer sent {type(event).__name__.lower()} when it was not its turn to")
        self._awaited.remove(type(event))
        return True

    def _take_return(self, event: Return) -> bool:
        if self._lender is None:
            raise RemoteProtocolError("the peer gave back memory, and was lent none")
        self._lender.take_returns(event.slots)
        return False
