"""What a client has for each api: to call it, or to submit it as a task and to ask for the task afterwards."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from svcd.client import wire
from svcd.client.http11 import Request
from svcd.tasks.errors import TaskNotDone
from svcd.tasks.states import TaskStatus
from svcd.values.media import JSON, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Callable

    Send = Callable[[Request], Any]
    """Gives what the answer holds, or an awaitable of that."""

WAIT = 20.0
"""Seconds for which one request waits for the end of a task; the next one goes on waiting."""
_ANY = (("accept", f"{MSGPACK}, {JSON};q=0.9, */*;q=0.5"),)
"""The form of a result is that which its submitter asked for."""
_TOLD = (("accept", JSON),)
_METHODS = {"status": "GET", "get": "GET", "retry": "POST", "cancel": "PUT"}


class _Api:
    """What both colours of an api are made of."""

    def __init__(self, name: str, call: Callable[..., Any], send: Send, timeout: float) -> None:
        self._call = call
        self._send = send
        self._timeout = timeout
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<api {self.__name__}>"


class _Task:
    """What both colours of a task are made of."""

    def __init__(self, send: Send, api: str, task_id: str, timeout: float) -> None:
        self._send = send
        self._timeout = timeout
        self.api = api
        self.id = task_id

    def __repr__(self) -> str:
        return f"<task {self.id} of {self.api}>"

    def _question(self, what: str, **more: Any) -> Request:
        target = _target(self.api, what, task_id=self.id, **more)
        headers = _ANY if what == "get" else _TOLD
        return Request(self.api, target, method=_METHODS[what], headers=headers, is_safe=True)


class ClientApi(_Api):
    """One api of the app."""

    def __call__(self, **args: Any) -> Any:
        """Call it."""
        return self._call(**args)

    def submit(self, **args: Any) -> Task:
        """Have it run in the background; returns once that is on the app's disk.

        Raises InvalidArgument, QueueFull, StoreUnusable, CallError.
        """
        request = submission(self.__name__, args)
        return Task(self._send, self.__name__, self._send(request)["task_id"], self._timeout)

    def task(self, task_id: str) -> Task:
        """Return the handle of a task that was submitted before, by whomever."""
        return Task(self._send, self.__name__, task_id, self._timeout)


class Task(_Task):
    """A task of the app: a handle, which may be thrown away and made again from `id`."""

    def get_status(self) -> TaskStatus:
        """Return how far it is. Raises UnknownTask once it has expired."""
        return TaskStatus(self.info()["status"])

    def info(self) -> dict[str, Any]:
        """Return all that is told of it: status, times, attempts, error."""
        told: dict[str, Any] = self._send(self._question("status"))
        return told

    def get(self, timeout: float | None = None) -> Any:
        """Wait for its end and return its result.

        Args:
            timeout: Seconds to wait; as long as it takes unless given.

        Raises:
            TaskNotDone: It has not ended in time.
            TaskCancelled: It was cancelled.
            ReplicaLost: It is lost.
            UnknownTask: It has expired.
            CallError: What became of it, as a plain call would raise it.
        """
        patience = Patience(timeout, self._timeout)
        while True:
            try:
                return self._send(self._question("get", wait=patience.next()))
            except TaskNotDone:
                if patience.is_over:
                    raise

    def retry(self) -> Task:
        """Submit its input once more, as a task of its own. Raises TaskNotDone, and as `submit`."""
        return Task(
            self._send,
            self.api,
            self._send(self._question("retry", new_id=_new_id()))["task_id"],
            self._timeout,
        )

    def cancel(self) -> TaskStatus:
        """Cancel it, and return what it is now: `cancelled`, or what it had become before."""
        return TaskStatus(self._send(self._question("cancel"))["status"])


class AsyncClientApi(_Api):
    """One api of the app."""

    def __call__(self, **args: Any) -> Any:
        """Call it: await what this returns, or iterate over it."""
        return self._call(**args)

    async def submit(self, **args: Any) -> AsyncTask:
        """As `ClientApi.submit`."""
        told = await self._send(submission(self.__name__, args))
        return AsyncTask(self._send, self.__name__, told["task_id"], self._timeout)

    def task(self, task_id: str) -> AsyncTask:
        """Return the handle of a task that was submitted before, by whomever."""
        return AsyncTask(self._send, self.__name__, task_id, self._timeout)


class AsyncTask(_Task):
    """As `Task`, awaited."""

    async def get_status(self) -> TaskStatus:
        """As `Task.get_status`."""
        return TaskStatus((await self.info())["status"])

    async def info(self) -> dict[str, Any]:
        """As `Task.info`."""
        told: dict[str, Any] = await self._send(self._question("status"))
        return told

    async def get(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as the other colour has it
        """As `Task.get`."""
        patience = Patience(timeout, self._timeout)
        while True:
            try:
                return await self._send(self._question("get", wait=patience.next()))
            except TaskNotDone:
                if patience.is_over:
                    raise

    async def retry(self) -> AsyncTask:
        """As `Task.retry`."""
        told = await self._send(self._question("retry", new_id=_new_id()))
        return AsyncTask(self._send, self.api, told["task_id"], self._timeout)

    async def cancel(self) -> TaskStatus:
        """As `Task.cancel`."""
        return TaskStatus((await self._send(self._question("cancel")))["status"])


def submission(api: str, args: dict[str, Any]) -> Request:
    """Return the request that submits a task.

    The id is chosen here, so that the request can be sent again when its answer was lost: an id is accepted once.
    """
    target = _target(api, "submit", task_id=_new_id())
    return Request(api, target, wire.encode(api, args), is_safe=True)


def _new_id() -> str:
    return secrets.token_hex(16)


def _target(api: str, what: str, **query: Any) -> str:
    return f"/{quote(api, safe='')}/{what}?{urlencode(query)}"


class Patience:
    """How long to go on waiting."""

    def __init__(self, seconds: float | None, timeout: float) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._most = min(WAIT, timeout / 2)  # else the request would time out before its answer

    @property
    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def next(self) -> float:
        """Return for how many seconds the next request waits."""
        return self._most if self._end is None else max(0.0, min(self._most, self._end - time.monotonic()))
