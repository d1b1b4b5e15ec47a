"""The table that `svcd ps` shows, one row for each replica."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import trio

from svcd_ipc.errors import CallError

if TYPE_CHECKING:
    from svcd.runtime.app import App
    from svcd.runtime.replica import Replica

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
    rows = [_row(replica, usages.get(replica.pid or 0)) for replica in replicas]
    async with trio.open_nursery() as nursery:
        for replica, row in zip(replicas, rows, strict=True):
            nursery.start_soon(_add_health, replica, row)
    return rows


def _row(replica: Replica, usage: Usage | None) -> dict[str, Any]:
    return {
        "service": replica.spec.name,
        "version": replica.spec.version,
        "replica": replica.index,
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


async def _add_health(replica: Replica, row: dict[str, Any]) -> None:
    if replica.channel is None:
        return
    with trio.move_on_after(HEALTH_LIMIT):
        try:
            health = await replica.channel.call("health", {})
        except CallError:
            return
        row.update(in_flight=health.get("in_flight"), queued=health.get("queued"))
        if stuck := health.get("threads_stuck"):
            abandoned = "1 abandoned call still runs" if stuck == 1 else f"{stuck} abandoned calls still run"
            row["reason"] = row["reason"] or abandoned
