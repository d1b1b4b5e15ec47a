"""Tasks over HTTP, in BentoML's words: `POST /<api>/submit`, and what is asked of a task afterwards by its id."""

from __future__ import annotations

import json
import math
import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from svcd.ingress.calls import check_accept, check_encoding, contents
from svcd.ingress.problems import refuse
from svcd.ingress.task_runs import problem_from
from svcd.tasks.errors import TaskCancelled, not_done
from svcd.tasks.records import Submission
from svcd.tasks.states import OPEN, TaskStatus
from svcd.values.media import JSON

if TYPE_CHECKING:
    from svcd.ingress.calls import LastStep
    from svcd.ingress.entry import Entry
    from svcd.ingress.exchange import Exchange
    from svcd.tasks.records import TaskInfo
    from svcd.tasks.runner import Runner

METHODS = {"submit": "POST", "status": "GET", "get": "GET", "retry": "POST", "cancel": "PUT"}
"""What can be done with a task, and the method for it."""
LONGEST_WAIT = 60.0
"""Seconds for which `get` waits at most, whatever the client asks for: proxies give up soon after."""
_NO_STORE = ((b"cache-control", b"no-store"),)
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Tasks:
    """Takes in tasks and tells of them."""

    def __init__(self, entry: Entry, runner: Runner) -> None:
        self._entry = entry
        self._runner = runner

    def __repr__(self) -> str:
        return f"<Tasks {self._runner}>"

    async def answer(self, exchange: Exchange, api: str, what: str, described: dict[str, Any], body: bytes) -> LastStep:
        """Do one of METHODS. Raises RefusedError, TaskError, CallError."""
        if what == "submit":
            return await self._submit(exchange, api, described, body)
        task_id = _id_under("task_id", exchange)
        if what == "get":
            return await self._get(exchange, api, task_id)
        if what == "retry":
            again = _id_under("new_id", exchange, secrets.token_hex(16))
            info = await self._runner.step(lambda store, now: store.retry(task_id, again, api, now))
            return _accepted(exchange, info)
        if what == "cancel":
            info = await self._runner.step(lambda store, now: store.cancel(task_id, api, now))
        else:
            info = await self._runner.step(lambda store, now: store.info(task_id, api, now))
        return partial(exchange.respond, 200, JSON, _json(info), _NO_STORE)

    async def _submit(self, exchange: Exchange, api: str, described: dict[str, Any], body: bytes) -> LastStep:
        task_id = _id_under("task_id", exchange, secrets.token_hex(16))
        check_accept(exchange, f"{self._entry.name}.{api}", described.get("answers"))
        check_encoding(exchange)
        args = {"api": api, **await contents(exchange.content_type, body)}
        await self._entry.check(args, deadline=self._entry.deadline(), trace=exchange.trace)
        new = Submission(
            id=task_id,
            api=api,
            body=body,
            media_type=exchange.content_type,
            accept=exchange.accept,
            trace=exchange.trace,
            **described["task"],
        )
        return _accepted(exchange, await self._runner.step(lambda store, now: store.submit(new, now)))

    async def _get(self, exchange: Exchange, api: str, task_id: str) -> LastStep:
        info = await self._runner.ended(task_id, api, within=_seconds(exchange, "wait"))
        if info.status in OPEN:
            raise not_done(task_id, info.status)
        if info.status is TaskStatus.CANCELLED:
            raise TaskCancelled(f"task {task_id} was cancelled")
        if info.fault is not None:
            return partial(exchange.respond_problem, problem_from(info.fault))
        result = await self._runner.desk.do(lambda store: store.result(task_id))
        check_accept(exchange, f"task {task_id}", [result.media_type.partition(";")[0]])
        return partial(exchange.respond, 200, result.media_type, result.body, _NO_STORE)


def _accepted(exchange: Exchange, info: TaskInfo) -> LastStep:
    where = f"/{info.api}/status?task_id={info.id}"
    headers = ((b"location", where.encode()), *_NO_STORE)
    return partial(exchange.respond, 202, JSON, _json(info), headers)


def _json(info: TaskInfo) -> bytes:
    told = info.to_json()
    if info.fault is not None:
        told["error"] |= problem_from(info.fault).extra
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _id_under(name: str, exchange: Exchange, otherwise: str = "") -> str:
    task_id = exchange.query.get(name, otherwise)
    if not task_id:
        raise _wrong(name, "Field required")
    if not _ID.fullmatch(task_id):
        raise _wrong(name, "8 to 64 letters, digits, - and _")
    return task_id


def _seconds(exchange: Exchange, name: str) -> float:
    text = exchange.query.get(name, "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise _wrong(name, f"seconds, 0 or more, not {text[:40]!r}")
    return min(seconds, LONGEST_WAIT)


def _wrong(field: str, message: str) -> Exception:
    return refuse(400, "invalid", f"{field}: {message}", details=[{"field": field, "message": message}])
