"""One way of looking at the present process of a program: its port, a GET, or a command run beside it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import trio

from svcd.host import probe
from svcd.host.free_port import holder_outside
from svcd.policy.lifecycle import State
from svcd.values.commands import Evidence, Sign
from svcd.values.exits import describe_exit
from svcd.values.orders import Exited

if TYPE_CHECKING:
    from svcd.runtime.commands import Commands
    from svcd.runtime.processes import Processes
    from svcd.runtime.replica import Replica


class Looks:
    """Looks for one kind of evidence; each call is one look."""

    def __init__(self, replica: Replica, evidence: Evidence, commands: Commands, processes: Processes) -> None:
        self._replica = replica
        self._evidence = evidence
        self._commands = commands
        self._processes = processes
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        """At whom, and for what."""
        return f"<Looks at {self._replica.process_id} by {self._question}>"

    async def __call__(self, limit: float) -> str:
        """Return what is amiss, "" for nothing; a look that takes longer than `limit` seconds finds that."""
        with trio.move_on_after(limit):
            return await self._look()
        return f"{self._question} took longer than {limit:g} s"

    @property
    def _question(self) -> str:
        match self._evidence.sign:
            case Sign.HTTP:
                return f"GET {self._evidence.path}"
            case Sign.EXEC:
                return self._evidence.argv[0]
            case _:
                return "a connection"

    async def _look(self) -> str:
        if self._evidence.sign is Sign.EXEC:
            return await self._ask()
        where = self._commands.where(self._replica)
        amiss = await (probe.answers(where, self._evidence.path) if self._evidence.path else probe.accepts(where))
        if amiss or isinstance(where, str) or self._replica.state is not State.STARTING:
            return amiss
        # Somebody else may listen there, and this one be about to fail for it.
        return await trio.to_thread.run_sync(holder_outside, where[1], self._replica.pid, self._replica.process_id)

    async def _ask(self) -> str:
        number = f"{self._evidence.asks}{next(self._numbers)}"
        ended = await self._processes.run_to_end(self._commands.question(self._replica, self._evidence.argv, number))
        if not isinstance(ended, Exited):
            return ended.message
        if ended.code == 0:
            return ""
        said = f": {ended.last_lines[-1]}" if ended.last_lines else ""
        return f"{self._question} {describe_exit(ended.code)}{said}"
