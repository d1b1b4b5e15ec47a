"""Whether a program is ready, and whether it is alive: what is looked at, heard, and made of it.

Workers of ours say so themselves over their control channel; programs of others are looked at, or heard.

Law: what a look costs in time is bounded by its own timeout; how long all of them together may go on until a program is
ready is the business of the replica's start limit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from svcd.host.notify_socket import NotifySocket
from svcd.policy.lifecycle import Happening
from svcd.runtime.commands import command_of
from svcd.runtime.looks import Looks
from svcd.runtime.settings import user_ids
from svcd.values.commands import Sign
from svcd.values.orders import Event, Notified, Spawned

if TYPE_CHECKING:
    from svcd.runtime.commands import Commands
    from svcd.runtime.processes import Processes
    from svcd.runtime.replica import Replica

SOON = 0.02
"""Seconds between the first looks; doubled with each until it is the period."""
PATIENCE = 3.0
"""Seconds of looking in vain after which `svcd ps` is told what is amiss: most programs take a moment."""
CAUSE = "readiness"
"""Among the ailments of a replica: what the looks at it found."""


class Readiness:
    """Watches the present process of one replica."""

    def __init__(self, replica: Replica, commands: Commands, processes: Processes) -> None:
        command = command_of(replica)
        self._replica = replica
        self._sign = command.ready.sign
        self._look = Looks(replica, command.ready, commands, processes)
        self._look_alive = Looks(replica, command.alive, commands, processes) if command.alive else None
        self._spawned = trio.Event()
        self._ready = trio.Event()
        self._scope = trio.CancelScope()
        # Before the process is there, so that its first word finds it.
        is_heard = self._sign is Sign.NOTIFY
        self._ear = NotifySocket(commands.notify_path(replica), _users(replica)) if is_heard else None

    def __repr__(self) -> str:
        """Whose, and by what."""
        return f"<Readiness of {self._replica.process_id} by {self._sign}>"

    def heard(self, event: Event) -> None:
        """Take what the keeper tells of the process."""
        match event:
            case Spawned():
                self._spawned.set()
            case Notified():
                self._is_ready()

    def end(self) -> None:
        """Watch no longer: the process has ended."""
        self._scope.cancel()

    async def run(self) -> None:
        """Post READY once it is ready, and watch on."""
        with self._scope:
            try:
                await self._spawned.wait()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    if self._look_alive:
                        nursery.start_soon(self._while_alive, self._look_alive)
            finally:
                if self._ear:
                    self._ear.close()

    def _is_ready(self) -> None:
        self._ready.set()
        self._replica.post(Happening.READY)

    async def _watch(self) -> None:
        match self._sign:
            case Sign.SPAWNED:
                self._is_ready()
            case Sign.NOTIFY:
                await self._hear()
            case Sign.TCP:
                await self._until_ready()  # and never again: the kernel accepts for a program that hangs as well
            case Sign.HTTP | Sign.EXEC:
                await self._until_ready()
                await self._while_ready()
            case Sign.FD | Sign.EXIT:
                pass  # the keeper tells

    async def _until_ready(self) -> None:
        probing = self._replica.spec.readiness
        began = trio.current_time()
        pause = SOON
        while amiss := await self._look(probing.timeout):
            self._replica.attempt.hint = amiss
            if trio.current_time() - began > PATIENCE:
                self._replica.waiting(amiss)
            await trio.sleep(pause)
            pause = min(2 * pause, probing.period)
        self._is_ready()

    async def _while_ready(self) -> None:
        """Keep callers away after so many looks in a row that find something amiss, until one finds nothing."""
        probing = self._replica.spec.readiness
        failed = 0
        while True:
            await trio.sleep(probing.period)
            amiss = await self._look(probing.timeout)
            failed = failed + 1 if amiss else 0
            if failed in {0, probing.threshold}:
                self._replica.ail(CAUSE, amiss)

    async def _while_alive(self, look: Looks) -> None:
        """Once it was ready, have it replaced after so many looks in a row that find something amiss."""
        probing = self._replica.spec.liveness
        await self._ready.wait()
        failed = 0
        while failed < probing.threshold:
            await trio.sleep(probing.period)
            amiss = await look(probing.timeout)
            failed = failed + 1 if amiss else 0
        self._replica.give_up(f"not alive: {amiss}")

    async def _hear(self) -> None:
        while self._ear:
            said = await self._ear.receive()
            if said.get("READY") == "1":
                self._is_ready()
            elif status := said.get("STATUS"):
                self._replica.attempt.hint = status
                self._replica.waiting(status)


def _users(replica: Replica) -> list[int]:
    """Whose word is taken for that of the replica's process."""
    return user_ids(replica.spec.process)[:1] or [os.getuid()]
