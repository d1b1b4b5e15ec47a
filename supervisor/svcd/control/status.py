"""The table that `svcd ps` shows, one row for each replica."""

from __future__ import annotations

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
    """Reads what a process uses."""

    def sample(self, pid: int) -> tuple[float, int]:
        """CPU percent since the last sample of this process tree, and its resident bytes."""


async def table(app: App, usage: Usage) -> list[dict[str, Any]]:
    """Return the rows. The replicas' own figures are asked for in parallel."""
    rows = [_row(replica, usage) for replica in app.replicas()]
    async with trio.open_nursery() as nursery:
        for replica, row in zip(app.replicas(), rows, strict=True):
            nursery.start_soon(_add_health, replica, row)
    return rows


def _row(replica: Replica, usage: Usage) -> dict[str, Any]:
    cpu, rss = usage.sample(replica.pid) if replica.pid is not None else (None, None)
    return {
        "service": replica.spec.name,
        "version": replica.spec.version,
        "replica": replica.index,
        "state": str(replica.state),
        "pid": replica.pid,
        "gpus": list(replica.assignment.gpus) if replica.assignment else [],
        "cpu_percent": cpu,
        "rss_bytes": rss,
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
