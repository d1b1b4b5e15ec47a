"""A call that waits in the lobby of a replica, and what becomes of it. `lobby` has the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.errors import Busy, DeadlineExceeded

if TYPE_CHECKING:
    from svcd.worker.lobby import Lobby
    from svcd_ipc.channel import IncomingCall

PATIENCE = 0.05
"""Seconds that a call may wait; as long as a caller leaves a busy replica alone (`replica_end.LAST_BACKOFF`)."""


async def handle_later(lobby: Lobby, call: IncomingCall) -> Any:
    """Run a call once it has a slot. Raises Busy when it gets none in time, DeadlineExceeded when it gets one late."""
    live = lobby.live
    has_slot = lobby.waiting[id(call)][1]
    try:
        with trio.move_on_after(PATIENCE):
            await has_slot.wait()
    except BaseException:
        lobby.release(call)
        raise
    if lobby.leave(call):
        raise Busy(f"{live.name}: all slots are taken", live.load())
    if call.remaining() <= 0:
        live.release(call)
        raise DeadlineExceeded(f"{live.name}.{call.api}: the deadline passed before a slot came free")
    return await live.handle(call)
