"""Where a call waits for a moment at a replica that is full, so that its callers take turns.

Without it a slot that comes free would go to whoever asks first, which is the caller whose call has just been answered:
one caller could keep all slots, and the others would ask in vain. Here each caller may leave a few calls, and they get
slots in the order in which they came. It is not for long: a call that has no slot by then is answered busy, not
started, and may find another replica.

Nothing here waits: see `patience`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.patience import handle_later

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from svcd.worker.serve import LiveService
    from svcd_ipc.calls import Blocking, Threads
    from svcd_ipc.channel import IncomingCall

ROOM = 2
"""Calls that each connection may leave: one waits while the answer that makes its caller send another is on its way."""


class Lobby:
    """Admits the calls that come to one service over connections. Its methods are what a Channel wants."""

    def __init__(self, live: LiveService) -> None:
        self.live = live
        self.waiting: dict[int, tuple[IncomingCall, trio.Event]] = {}
        """By the identity of the call, first come first."""
        self._per_peer: Counter[int] = Counter()
        """By the identity of the peer's hello, of which each connection has one."""
        self._others = live.on_freed
        """Hands slots to those who wait within the process."""
        self._is_others_turn = False
        live.on_freed = self._freed
        self.succeed, self.fail = live.succeed, live.fail

    @property
    def threads(self) -> Threads | None:
        """Who runs the calls of `def` apis; None where there are none."""
        return self.live.threads if any(api.is_blocking for api in self.live.apis.values()) else None

    def __repr__(self) -> str:
        return f"<Lobby of {self.live} [{len(self.waiting)} waiting]>"

    def admit(self, call: IncomingCall) -> bool:
        """Take a slot for a call, or a place in here; False when there is neither."""
        if self.live.admit(call):  # where a slot is free nobody waits
            return True
        peer = id(call.peer)
        if self.live.is_draining or self._per_peer[peer] >= ROOM:
            return False
        self.waiting[id(call)] = call, trio.Event()
        self._per_peer[peer] += 1
        self.live.parked = len(self.waiting)
        return True

    def release(self, call: IncomingCall) -> None:
        """Take back the slot or place of a call that ended before it was begun."""
        if not self.leave(call):
            self.live.release(call)

    def handle(self, call: IncomingCall) -> Awaitable[Any]:
        """Run an admitted call, see `LiveService.handle`."""
        if id(call) in self.waiting:
            return handle_later(self, call)
        return self.live.handle(call)

    def begin(self, call: IncomingCall) -> Coroutine[Any, Any, Any] | None:
        """Begin an admitted call that has its slot, see `LiveService.begin`."""
        if self.waiting and id(call) in self.waiting:
            return None
        return self.live.begin(call)

    def block(self, call: IncomingCall) -> Blocking | None:
        """Prepare an admitted call of a `def` api that has its slot, see `LiveService.block`."""
        if self.waiting and id(call) in self.waiting:
            return None
        return self.live.block(call)

    def _freed(self) -> None:
        """Hand the slot that came free to whoever is first in here, or within the process, in turns."""
        if self._others is None:
            self._hand_on()
            return
        self._is_others_turn = not self._is_others_turn
        for hand_on in (self._others, self._hand_on) if self._is_others_turn else (self._hand_on, self._others):
            hand_on()

    def _hand_on(self) -> None:
        while self.waiting:
            call, has_slot = next(iter(self.waiting.values()))
            if not self.live.take(call):
                return
            self.leave(call)
            has_slot.set()

    def leave(self, call: IncomingCall) -> bool:
        """Take a call out; False when it has a slot already."""
        if self.waiting.pop(id(call), None) is None:
            return False
        peer = id(call.peer)
        self._per_peer[peer] -= 1
        if not self._per_peer[peer]:
            del self._per_peer[peer]
        self.live.parked = len(self.waiting)
        return True
