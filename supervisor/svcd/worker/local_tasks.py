"""Tasks of an app in this process: the same queue, kept in memory, so that it ends with the app."""

from __future__ import annotations

import secrets
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.nearest import nearest
from svcd.tasks.desk import Desk
from svcd.tasks.errors import TaskCancelled, not_done
from svcd.tasks.records import Fault, Result, Submission
from svcd.tasks.runner import PAUSE, NotBegun, Runner
from svcd.tasks.schema import MEMORY
from svcd.tasks.states import OPEN, TaskStatus
from svcd.tasks.store import Bounds
from svcd.values.media import MSGPACK
from svcd.worker.revive import raise_as_own
from svcd_ipc import codec
from svcd_ipc.errors import CallError, EncodeError, Overloaded, RemoteError, UnknownApi, from_wire, to_wire

if TYPE_CHECKING:
    from svcd.tasks.records import Claimed, TaskInfo
    from svcd.worker.local_caller import LocalCaller
    from svcd.worker.portal import Portal
    from svcd.worker.serve import LiveApi

NO_LIMIT = 1e8
"""Seconds; as for tasks of a running app."""


class LocalTasks:
    """Submits and runs the tasks of one service of this process."""

    def __init__(self, caller: LocalCaller, portal: Portal) -> None:
        self.portal = portal
        self._caller = caller
        self._runner = Runner(Desk(MEMORY, Bounds()), LocalPerformer(caller), concurrency=caller.live.max_concurrency)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<LocalTasks {self._runner}>"

    async def run(self) -> None:
        """Run tasks until stopped."""
        try:
            with self._scope:
                await self._runner.run()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel what runs, and forget the rest."""
        self._scope.cancel()
        await self._ended.wait()

    async def submit(self, api: str, args: dict[str, Any]) -> LocalTask:
        """Accept a task. Raises TypeError for an api that is none, InvalidArgument, EncodeError, QueueFull."""
        live = self._live(api)
        task = live.declaration.task
        if task is None:
            raise TypeError(f"{live.schema.title} is no task: declare it with @svcd.task, or call it")
        try:
            body = codec.encode(args)
        except EncodeError as error:
            raise EncodeError(f"{live.schema.title}: args{str(error).removeprefix('value')}") from None
        live.schema.validate(codec.decode(body))
        new = Submission(
            id=secrets.token_hex(16),
            api=api,
            body=body,
            media_type=MSGPACK,
            idempotent=live.declaration.idempotent,
            timeout=task.timeout,
            retries=task.retries,
        )
        info = await self._runner.step(lambda store, now: store.submit(new, now))
        return LocalTask(self, api, info.id)

    async def info(self, api: str, task_id: str) -> TaskInfo:
        """Return what is known of a task. Raises UnknownTask."""
        return await self._runner.step(lambda store, now: store.info(task_id, api, now))

    async def cancel(self, api: str, task_id: str) -> TaskInfo:
        """End a task. Raises UnknownTask."""
        return await self._runner.step(lambda store, now: store.cancel(task_id, api, now))

    async def retry(self, api: str, task_id: str) -> LocalTask:
        """Submit the input of a task once more. Raises UnknownTask, TaskNotDone, QueueFull."""
        again = secrets.token_hex(16)
        info = await self._runner.step(lambda store, now: store.retry(task_id, again, api, now))
        return LocalTask(self, api, info.id)

    async def get(self, api: str, task_id: str, within: float) -> Any:
        """Return the result of a task, once it is there. Raises what became of it instead."""
        info = await self._runner.ended(task_id, api, within=within)
        if info.status in OPEN:
            raise not_done(task_id, info.status)
        if info.status is TaskStatus.CANCELLED:
            raise TaskCancelled(f"task {task_id} was cancelled")
        if info.fault is not None:
            error = from_wire(info.fault.code, info.fault.message, codec.decode(info.fault.more))
            raise_as_own(error)
            raise error
        result = await self._runner.desk.do(lambda store: store.result(task_id))
        value, rebuild = codec.decode(result.body), self._live(api).schema.rebuild
        return value if rebuild is None else rebuild(value)

    def _live(self, api: str) -> LiveApi:
        apis = self._caller.live.apis
        if api not in apis:
            raise UnknownApi(f"{self._caller.service} has no api {nearest(api, apis)}")
        return apis[api]


class LocalPerformer:
    """A service of this process."""

    def __init__(self, caller: LocalCaller) -> None:
        self._caller = caller

    async def enter(self) -> LocalPerformer:
        """Return at once: no more are run at one time than the service admits, and the others wait in its line."""
        return self

    def leave(self) -> None:
        """Do nothing."""

    async def perform(self, task: Claimed) -> Result:
        """Call the api. Raises NotBegun, and what the call raises."""
        deadline = self._caller.deadline_of(task.timeout or NO_LIMIT)
        try:
            value = await self._caller.call(task.api, codec.decode(task.body), deadline=deadline)
        except Overloaded as error:
            if error.from_peer:  # by something further down
                raise
            await trio.sleep(PAUSE)
            raise NotBegun from error
        return Result(media_type=MSGPACK, body=codec.encode(value))

    def fault_of(self, task: Claimed, error: Exception) -> Fault:
        """Return the error as it would travel."""
        del task
        # Without our own frames on top of those that it came with.
        told = error.with_traceback(None) if isinstance(error, CallError) else RemoteError.of(error)
        code, message, details = to_wire(told)
        return Fault(code=code, message=message, more=codec.encode(details))


class LocalTask:
    """As `svcd.client.tasks.AsyncTask`."""

    def __init__(self, tasks: LocalTasks, api: str, task_id: str) -> None:
        self._tasks = tasks
        self.api = api
        self.id = task_id

    def __repr__(self) -> str:
        return f"<task {self.id} of {self.api}>"

    async def get_status(self) -> TaskStatus:
        """Return how far it is."""
        return (await self._tasks.info(self.api, self.id)).status

    async def info(self) -> dict[str, Any]:
        """Return all that is told of it."""
        return (await self._tasks.info(self.api, self.id)).to_json()

    async def get(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109  (as the clients have it)
        """Wait for its end, or so many seconds, and return its result."""
        return await self._tasks.get(self.api, self.id, inf if timeout is None else timeout)

    async def retry(self) -> LocalTask:
        """Submit its input once more."""
        return await self._tasks.retry(self.api, self.id)

    async def cancel(self) -> TaskStatus:
        """Cancel it, and return what it is now."""
        return (await self._tasks.cancel(self.api, self.id)).status


class BlockingTask:
    """As `svcd.client.tasks.Task`."""

    def __init__(self, task: LocalTask, portal: Portal) -> None:
        self._task = task
        self._portal = portal
        self.api = task.api
        self.id = task.id

    def __repr__(self) -> str:
        return repr(self._task)

    def get_status(self) -> TaskStatus:
        """Return how far it is."""
        return self._portal.run(self._task.get_status)

    def info(self) -> dict[str, Any]:
        """Return all that is told of it."""
        return self._portal.run(self._task.info)

    def get(self, timeout: float | None = None) -> Any:
        """Wait for its end, or so many seconds, and return its result."""
        return self._portal.run(self._task.get, timeout)

    def retry(self) -> BlockingTask:
        """Submit its input once more."""
        return BlockingTask(self._portal.run(self._task.retry), self._portal)

    def cancel(self) -> TaskStatus:
        """Cancel it, and return what it is now."""
        return self._portal.run(self._task.cancel)
