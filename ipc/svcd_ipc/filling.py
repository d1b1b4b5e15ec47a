"""Large arrays into the arena: on the event loop as long as nobody else wants it, else on a thread.

16 MB are copied in a millisecond. To wake a thread that copies, and the loop when it is done, takes a half of one where
cores have gone to sleep meanwhile (0.4 ms each in a virtual machine), so a loop that has nothing else to do copies
itself, a piece at a time. Whether it has is seen between the pieces: as soon as a pass of the loop takes about as long
as a piece, a thread copies the rest.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.raw import address_of, move
from svcd_ipc.sharing import fill, is_flat

if TYPE_CHECKING:
    from svcd_ipc.memory import Memory, Slot

_PIECE: Final = 8 << 20
"""Bytes that are copied between two looks: for half a millisecond nothing else happens, as with an array that is just
too small to be looked after here (`staging.LARGE`). A look costs 25 µs, the code being cold after each piece."""

_IDLE: Final = 200e-6
"""Seconds that a pass of the loop takes at most when little is to be done; with nothing to do it takes 20 µs."""


async def place(memory: Memory, value: Any) -> Any:
    """Return a copy of an array or a flat memoryview in the arena, of the same kind, or None when there is no room."""
    found = memory.allocate(value.nbytes)
    if found is None:
        return None
    slot, room = found
    if not is_flat(value) or not memory.is_populated(slot):  # New pages take ten times as long as a copy.
        return await trio.to_thread.run_sync(_all_at_once, memory, slot, room, value)
    done = await _while_idle(address_of(room), value)
    if done < value.nbytes:
        await trio.to_thread.run_sync(move, address_of(room) + done, value, done, value.nbytes - done)
    return fill(room, value, is_there=True)


def _all_at_once(memory: Memory, slot: Slot, room: memoryview, value: Any) -> Any:
    memory.populate(slot)
    return fill(room, value)


async def _while_idle(target: int, value: Any) -> int:
    """Copy a buffer to an address until something else has to be done; return how many bytes were."""
    done, size = 0, value.nbytes
    while done < size:
        move(target + done, value, done, min(_PIECE, size - done))
        done = min(done + _PIECE, size)
        begun = perf_counter()
        await trio.lowlevel.checkpoint()
        if perf_counter() - begun > _IDLE:
            break
    return done
