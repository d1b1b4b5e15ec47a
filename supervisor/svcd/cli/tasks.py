"""`svcd tasks [ID]`: the background tasks, or one of them: how far it is, how often it was begun, what became of it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import EXIT_NOT_RUNNING, app_options, call_errors, fail, places_of, sources_of
from svcd.cli.instants import shown
from svcd.cli.table import age, colour_of, one_line, printable, render, span
from svcd.config import ConfigError, read
from svcd.tasks.errors import UnknownTask
from svcd.tasks.listing import Reader
from svcd.tasks.states import OPEN, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.config import Sources
    from svcd.tasks.records import TaskInfo

HEADER = ("TASK", "API", "STATUS", "AGE", "TOOK", "ATTEMPTS", "REASON")
_CANCEL_TIMEOUT = 10.0


@click.command("tasks")
@click.argument("task_id", required=False, metavar="[ID]")
@app_options
@click.option(
    "--status",
    "states",
    multiple=True,
    type=click.Choice([status.value for status in TaskStatus]),
    help="Those that are so only.",
)
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="The newest so many.")
@click.option("--cancel", is_flag=True, help="End the task ID, unless it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print them as a list of objects, or the one as an object.")
def command(
    task_id: str | None,
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    states: tuple[str, ...],
    lines: int,
    *,
    cancel: bool,
    as_json: bool,
) -> None:
    """List the background tasks, the newest first, or tell of one; also after the app has stopped.

    Times are UTC. A task is forgotten `result_ttl` after its end.
    """
    if task_id is None and cancel:
        raise click.UsageError("--cancel needs the ID of a task")
    if task_id is not None and states:
        raise click.UsageError("--status is for the list of tasks")
    sources = sources_of(files, profile, sets)
    store = Reader(_store_of(sources))
    with call_errors():
        if task_id is None:
            _list(store, lines, states, as_json=as_json)
        else:
            _tell(store, task_id, sources if cancel else None, as_json=as_json)


def _store_of(sources: Sources) -> str:
    """Where the tasks are kept. A configuration that has since become wrong hides the default place from nobody."""
    try:
        return read(sources).task_store or places_of(sources).tasks
    except ConfigError:
        return places_of(sources).tasks


def _list(store: Reader, lines: int, states: tuple[str, ...], *, as_json: bool) -> None:
    found = store.tasks(time.time(), lines, tuple(map(TaskStatus, states)))
    if as_json:
        click.echo(json.dumps([_told(task) for task in found.tasks], indent=2, ensure_ascii=False))
    else:
        for line in _table([_told(task) for task in found.tasks]):
            click.echo(line)
    if len(found.tasks) < found.total:
        click.echo(f"svcd: {found.total} tasks in all; `-n {found.total}` shows them", err=True)
    elif not Path(store.path).exists():
        click.echo(f"svcd: no task was ever submitted: there is no {store.path}", err=True)


def _tell(store: Reader, task_id: str, to_cancel: Sources | None, *, as_json: bool) -> None:
    try:
        task = store.task(task_id, time.time())
        if to_cancel is not None:
            _cancel(task, to_cancel)
            task = store.task(task_id, time.time())
    except UnknownTask as error:
        fail(f"{error}; `svcd tasks` lists those that there are")
    if as_json:
        click.echo(json.dumps(_told(task), indent=2, ensure_ascii=False))
        return
    for line in _story(_told(task)):
        click.echo(line.rstrip())


def _cancel(task: TaskInfo, sources: Sources) -> None:
    """Have the ingress cancel it, which ends a run at once."""
    from svcd.client.blocking import Client  # noqa: PLC0415 - only this needs it
    from svcd_ipc.errors import ServiceUnavailable  # noqa: PLC0415 - as above

    socket = places_of(sources).http
    if not Path(socket).exists():
        fail("a task is cancelled by the running app; `svcd up` starts it", EXIT_NOT_RUNNING)
    with Client(f"unix:{socket}", timeout=_CANCEL_TIMEOUT) as client:
        try:
            client.__getattr__(task.api).task(task.id).cancel()
        except ServiceUnavailable as error:
            fail(str(error), EXIT_NOT_RUNNING)


def _told(task: TaskInfo) -> dict[str, Any]:
    told = {"api": task.api} | task.to_json()
    if task.fault is not None:
        told["error"] |= json.loads(task.fault.more or b"{}").get("extra", {})
    return told


def _table(tasks: list[dict[str, Any]]) -> Iterator[str]:
    header, *lines = render(HEADER, [_cells(task) for task in tasks])
    yield header
    for line, task in zip(lines, tasks, strict=True):
        id_, status = task["task_id"], task["status"]
        yield id_ + line.removeprefix(id_).replace(f" {status} ", f" {click.style(status, fg=colour_of(status))} ", 1)


def _cells(task: dict[str, Any]) -> list[str]:
    took = _took(task)
    return [
        task["task_id"],
        task["api"],
        task["status"],
        age(task["created_at"]),
        "-" if took is None else span(took),
        str(task["attempts"]),
        one_line(task["error"]["message"]) if task["error"] else "",
    ]


def _took(task: dict[str, Any]) -> float | None:
    """Seconds of its last run, until now where that goes on; None where there was none."""
    begun, ended = task["started_at"], task["executed_at"]
    if begun is None:
        return None
    return ((_instant(ended) if ended else datetime.now(UTC)) - _instant(begun)).total_seconds()


def _story(task: dict[str, Any]) -> Iterator[str]:
    took, error = _took(task), task["error"]
    status = click.style(task["status"], fg=colour_of(task["status"]))
    yield f"{click.style(task['api'], bold=True)} {task['task_id']} is {status}"
    yield f"  submitted {_time(task['created_at'])}, {age(task['created_at'])} ago"
    if task["retry_of"]:
        yield f"  retry of  {task['retry_of']}"
    if took is not None:
        waited = (_instant(task["started_at"]) - _instant(task["created_at"])).total_seconds()
        times = f"; {task['attempts']} times in all" if task["attempts"] > 1 else ""
        yield f"  begun     {_time(task['started_at'])}, after {span(waited)}{times}"
    if task["executed_at"]:
        after = "" if took is None else f", after {span(took)}"
        yield f"  ended     {_time(task['executed_at'])}{after}; forgotten {_time(task['expires_at'])}"
    if error:
        yield f"  error     {error['code']}: {one_line(error['message'])}"
        yield from (f"            {printable(line)}" for line in error["message"].splitlines()[1:])
        if "id" in error:
            yield f"  log       `svcd logs ingress` has the traceback, under error {error['id']}"
    if task["status"] in OPEN:
        yield f"  next      `svcd tasks {task['task_id']} --cancel` ends it"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time(text: str) -> str:
    return shown(text.replace("+00:00", "Z"))
