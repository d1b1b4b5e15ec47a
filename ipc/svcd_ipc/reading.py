"""Who reads a connection, and what they wait for: bytes, room, or their turn. `reader` has the state.

A minder puts a hand back where nobody has called for a while, so that a drain or the end of the connection is noticed
on an idle channel too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection, wait_readable

from svcd_ipc.reader import Next
from svcd_ipc.writing import room

if TYPE_CHECKING:
    from svcd_ipc.answering import Answering
    from svcd_ipc.crew import Hand
    from svcd_ipc.outbox import Outbox
    from svcd_ipc.pending import Pending
    from svcd_ipc.reader import Reader

_VACANT: Final = 0.02
"""Seconds without a call after which a hand reads again."""


class Reading:
    """What the tasks do that read one connection."""

    def __init__(self, reader: Reader, *, outbox: Outbox, answering: Answering) -> None:
        self.reader = reader
        self._outbox = outbox
        self._answering = answering

    async def read(self, hand: Hand) -> None:
        """Be the job of the hand that reads; done when another hand, or a caller, goes on."""
        reader = self.reader
        while True:
            todo = reader.go_on()
            if todo is Next.RECEIVE:
                await self.receive()
            elif todo is Next.PASS:
                await self._pass()
            elif todo is Next.ROOM:
                await room(self._outbox)
            elif todo is Next.LEAVE:
                return
            else:
                await self._answering.finish(todo, hand)
                return

    @enable_ki_protection
    async def read_until_settled(self, pending: Pending) -> None:
        """Take the vacant place and read until this call has its answer."""
        reader = self.reader
        reader.is_vacant = False
        try:
            while not reader.go_on_for(pending):
                await self.receive()
                reader.take_answers()
        finally:
            reader.step_back()
        if reader.way.is_loops_turn:
            await self._pass()

    async def receive(self) -> None:
        """Wait for bytes and hand them to the connection; returns without any when interrupted."""
        reader = self.reader
        reader.receiver.park()
        try:
            await wait_readable(reader.fd)
        except trio.ClosedResourceError:  # See `Reader.interrupt`.
            return
        except OSError as error:
            reader.end(error)
            return
        reader.receive()

    async def mind(self) -> None:
        """Put a hand back where the place stays vacant; runs until cancelled."""
        reader = self.reader
        while True:
            await reader.minder.wait()
            turns = -1
            while reader.turns != turns:
                turns = reader.turns
                await trio.sleep(_VACANT)  # First of all, or each call would wake this task.
                if not reader.is_vacant:
                    break
            reader.is_minded = False  # Whoever reads now rings again when it steps back.
            reader.resume()

    async def _pass(self) -> None:
        self.reader.way.is_loops_turn = False
        await cancel_shielded_checkpoint()
