"""Runs tasks on the entry's replicas: admitted like any other call, and no sooner begun than there is room."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from svcd.ingress.calls import contents
from svcd.ingress.entry import HTTP_API
from svcd.ingress.problems import Problem, problem_of
from svcd.tasks.records import Fault, Result
from svcd.tasks.runner import Lost, NotBegun, NotNow
from svcd_ipc.errors import Busy, CallError, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from svcd.ingress.log import Log
    from svcd.tasks.records import Claimed
    from svcd.worker.replica_end import ReplicaEnd
    from svcd.worker.route import Route

NO_LIMIT = 1e8
"""Seconds, three years: the deadline of a task without a timeout. A number, because not every wait takes infinity."""


class EntryPerformer:
    """The entry, as whoever has tasks sees it."""

    def __init__(self, route: Route, log: Log) -> None:
        self._route = route
        self._log = log

    def __repr__(self) -> str:
        return f"<EntryPerformer {self._route}>"

    async def enter(self) -> EntryPlace:
        """Return once a replica would take a call, in one line with all other calls. Raises NotNow."""
        try:
            replica = await self._route.acquire("task", self._route.clock() + NO_LIMIT)
        except CallError as error:
            raise NotNow(str(error)) from error
        return EntryPlace(self._route, replica)

    def fault_of(self, task: Claimed, error: Exception) -> Fault:
        """Return what a client is told of an error, as it would be of a plain call; the log gets the rest."""
        problem = problem_of(error, f"/{task.api}")
        self._log.problem(f"task {task.id} of {task.api}", problem, error)
        more = json.dumps({"status": problem.status, "extra": problem.extra}, default=str)
        return Fault(code=problem.code, message=problem.message, more=more.encode())


def problem_from(fault: Fault) -> Problem:
    """Return the answer that tells of what became of a task."""
    more = json.loads(fault.more or b'{"status": 502, "extra": {}}')
    return Problem(more["status"], fault.code, fault.message, more["extra"])


class EntryPlace:
    """A replica, counted as having one call more."""

    def __init__(self, route: Route, replica: ReplicaEnd) -> None:
        self._route = route
        self._replica = replica

    def leave(self) -> None:
        """Send nothing."""
        self._route.release(self._replica)

    async def perform(self, task: Claimed) -> Result:
        """Send the task and return its result. Raises NotBegun, Lost, RefusedError, CallError."""
        route, replica = self._route, self._replica
        deadline = route.clock() + (task.timeout or NO_LIMIT)
        try:
            args = {"api": task.api, "accept": task.accept, **await contents(task.media_type, task.body)}
            channel = await route.open(replica, task.api, deadline)
            answer = await channel.call(HTTP_API, args, deadline=deadline, trace=task.trace, attempt=task.attempt)
        except Busy as busy:
            replica.refused(busy.load, route.clock())
            raise NotBegun from busy
        except (ServiceUnavailable, ReplicaLost) as error:
            if error.from_peer and not self._was_its_end(error):
                replica.answered()
                raise
            if isinstance(error, ServiceUnavailable) and not error.from_peer:
                raise NotBegun from error
            raise Lost(
                f"{route.service}.{task.api}: {replica.id} was lost while the task may have been running"
            ) from error
        except CallError:
            replica.answered()
            raise
        else:
            replica.answered()
            return Result(media_type=answer[0], body=answer[1])
        finally:
            route.release(replica)

    def _was_its_end(self, error: CallError) -> bool:
        """Whether the replica says that it was stopped itself, and not something further down.

        It names the reserved api then, which nobody else calls, or is told to be stopping by its own name.
        """
        text = str(error)
        return f".{HTTP_API}: " in text or text == f"{self._route.service} is stopping"
