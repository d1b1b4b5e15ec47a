"""When a program is ready: looks at it until it shows its sign, and afterwards whether it still does.

Workers of ours say so themselves over their control channel; programs of others are looked at, or heard.

Law: what a look costs in time is bounded by its own timeout; how long all of them together may go on is the business
of the replica's start limit.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import trio

from svcd.host import probe
from svcd.host.free_port import holder_outside
from svcd.host.notify_socket import NotifySocket
from svcd.policy.lifecycle import Happening, State
from svcd.runtime.commands import command_of
from svcd.runtime.settings import user_ids
from svcd.values.commands import Sign
from svcd.values.exits import describe_exit
from svcd.values.orders import Event, Exited, Notified, Spawned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.runtime.commands import Commands
    from svcd.runtime.processes import Processes
    from svcd.runtime.replica import Replica

    Look = Callable[[], Awaitable[str]]
    """Returns what is amiss, "" for nothing."""

SOON = 0.02
"""Seconds between the first looks; doubled with each until it is the period."""
PATIENCE = 3.0
"""Seconds of looking in vain after which `svcd ps` is told what is amiss: most programs take a moment."""


class Readiness:
    """Watches the present process of one replica."""

    def __init__(self, replica: Replica, commands: Commands, processes: Processes) -> None:
        self._replica = replica
        self._commands = commands
        self._processes = processes
        self._ready = command_of(replica).ready
        self._numbers = itertools.count(1)
        self._spawned = trio.Event()
        self._scope = trio.CancelScope()
        # Before the process is there, so that its first word finds it.
        self._ear = NotifySocket(commands.notify_path(replica), _users(replica)) if self._by(Sign.NOTIFY) else None

    def __repr__(self) -> str:
        """Whose, and by what."""
        return f"<Readiness of {self._replica.process_id} by {self._ready.sign}>"

    def heard(self, event: Event) -> None:
        """Take what the keeper tells of the process."""
        match event:
            case Spawned():
                self._spawned.set()
            case Notified():
                self._replica.post(Happening.READY)

    def end(self) -> None:
        """Watch no longer: the process has ended."""
        self._scope.cancel()

    async def run(self) -> None:
        """Post READY once it is; then watch on where its sign is one that can be looked at again."""
        with self._scope:
            try:
                await self._spawned.wait()
                await self._watch()
            finally:
                if self._ear:
                    self._ear.close()

    async def _watch(self) -> None:
        match self._ready.sign:
            case Sign.SPAWNED:
                self._replica.post(Happening.READY)
            case Sign.NOTIFY:
                await self._hear()
            case Sign.TCP:
                await self._until_ready()  # and never again: the kernel accepts for a program that hangs as well
            case Sign.HTTP | Sign.EXEC:
                await self._until_ready()
                await self._while_ready()
            case Sign.FD | Sign.EXIT:
                pass  # the keeper tells

    def _by(self, sign: Sign) -> bool:
        return self._ready.sign is sign

    async def _until_ready(self) -> None:
        began = trio.current_time()
        pause = SOON
        while amiss := await self._look():
            self._replica.hint = amiss
            if trio.current_time() - began > PATIENCE:
                self._replica.waiting(amiss)
            await trio.sleep(pause)
            pause = min(2 * pause, self._replica.spec.readiness.period)
        self._replica.post(Happening.READY)

    async def _while_ready(self) -> None:
        """Keep callers away after so many looks in a row that find something amiss, until one finds nothing."""
        probing = self._replica.spec.readiness
        failed = 0
        while True:
            await trio.sleep(probing.period)
            amiss = await self._look()
            failed = failed + 1 if amiss else 0
            if not amiss:
                self._replica.ail("readiness", "")
            elif failed >= probing.threshold:
                self._replica.ail("readiness", amiss)

    async def _look(self) -> str:
        limit = self._replica.spec.readiness.timeout
        with trio.move_on_after(limit):
            return await self._one_look()
        return f"{self._question} took longer than {limit:g} s"

    @property
    def _question(self) -> str:
        match self._ready.sign:
            case Sign.HTTP:
                return f"GET {self._ready.path}"
            case Sign.EXEC:
                return self._ready.argv[0]
            case _:
                return "the connection"

    async def _one_look(self) -> str:
        if self._by(Sign.EXEC):
            return await self._ask()
        where = self._commands.where(self._replica)
        amiss = await (probe.answers(where, self._ready.path) if self._ready.path else probe.accepts(where))
        if amiss or isinstance(where, str) or self._replica.state is not State.STARTING:
            return amiss
        # Somebody else may listen there, and this one be about to fail for it.
        return await trio.to_thread.run_sync(holder_outside, where[1], self._replica.pid, self._replica.process_id)

    async def _ask(self) -> str:
        ended = await self._processes.run_to_end(self._commands.question(self._replica, next(self._numbers)))
        if not isinstance(ended, Exited):
            return ended.message
        if ended.code == 0:
            return ""
        said = f": {ended.last_lines[-1]}" if ended.last_lines else ""
        return f"{self._ready.argv[0]} {describe_exit(ended.code)}{said}"

    async def _hear(self) -> None:
        while self._ear:
            said = await self._ear.receive()
            if said.get("READY") == "1":
                self._replica.post(Happening.READY)
            elif status := said.get("STATUS"):
                self._replica.hint = status
                self._replica.waiting(status)


def _users(replica: Replica) -> list[int]:
    """Whose word is taken for that of the replica's process."""
    return user_ids(replica.spec.process)[:1] or [os.getuid()]
