"""The table that `svcd ps` shows: a row for each replica, and one for each member of a group that shares a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import trio

from svcd_ipc.errors import CallError

if TYPE_CHECKING:
    from svcd.runtime.app import App
    from svcd.runtime.replica import Replica
    from svcd.values.specs import ServiceSpec

HEALTH_LIMIT = 0.5
"""Seconds to wait for a replica's own figures; a stuck replica must not hold up the table."""


class Usage(Protocol):
    """What a process tree uses."""

    @property
    def cpu_percent(self) -> float:
        """Of one core, since the last look."""

    @property
    def rss_bytes(self) -> int:
        """Resident memory."""


Look = Callable[[Iterable[int]], Mapping[int, Usage]]
"""Usage by pid; a process that has ended is left out."""


async def table(app: App, look: Look) -> list[dict[str, Any]]:
    """Return the rows. The replicas' own figures are asked for in parallel."""
    replicas = app.replicas()
    usages = look([replica.pid for replica in replicas if replica.pid is not None])
    rows = [_rows(app, replica, usages.get(replica.pid or 0)) for replica in replicas]
    async with trio.open_nursery() as nursery:
        for replica, of_replica in zip(replicas, rows, strict=True):
            nursery.start_soon(_add_health, replica, of_replica)
    return [row for of_replica in rows for row in of_replica]


def _rows(app: App, replica: Replica, usage: Usage | None) -> list[dict[str, Any]]:
    """The row of the service that the process is named for comes first."""
    members = sorted(replica.spec.all, key=lambda member: member.name != replica.spec.name)
    return [_row(replica, member, usage) | {"version": app.notes.version(replica, member)} for member in members]


def _row(replica: Replica, service: ServiceSpec, usage: Usage | None) -> dict[str, Any]:
    return {
        "service": service.name,
        "version": service.version,
        "replica": replica.index,
        "process": replica.name,
        "state": str(replica.state),
        "pid": replica.pid,
        "gpus": list(replica.assignment.gpus) if replica.assignment else [],
        "cpu_percent": usage.cpu_percent if usage else None,
        "rss_bytes": usage.rss_bytes if usage else None,
        "gpu_memory_bytes": None,
        "restarts": replica.restarts,
        "since": datetime.fromtimestamp(replica.since, UTC).isoformat(timespec="milliseconds"),
        "in_flight": None,
        "queued": None,
        "last_exit": replica.last_exit,
        "reason": replica.reason,
    }


async def _add_health(replica: Replica, rows: list[dict[str, Any]]) -> None:
    if replica.channel is None:
        return
    with trio.move_on_after(HEALTH_LIMIT):
        try:
            health = await replica.channel.call("health", {})
        except CallError:
            return
        for row in rows:
            _tell(row, health.get("services", {}).get(row["service"], health))


def _tell(row: dict[str, Any], health: dict[str, Any]) -> None:
    row.update(in_flight=health.get("in_flight"), queued=health.get("queued"))
    if stuck := health.get("threads_stuck"):
        abandoned = "1 abandoned call still runs" if stuck == 1 else f"{stuck} abandoned calls still run"
        row["reason"] = row["reason"] or abandoned
