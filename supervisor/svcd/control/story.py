"""What `svcd status` tells: what a service wants, what is, why, and how it came to that."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from svcd.policy.lifecycle import State
from svcd.policy.order import callees, required
from svcd.policy.restart import BUDGET
from svcd.values.secrets import veil

if TYPE_CHECKING:
    from svcd.runtime.app import App
    from svcd.runtime.replica import Replica
    from svcd.runtime.service import Service


def story(app: App, service: Service, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all that is known of a service. rows: those of `svcd ps`, its replicas' among them."""
    spec = service.spec
    of_replica = {row["replica"]: row for row in rows if row["service"] == spec.name}
    ready = sum(replica.state is State.READY for replica in service.replicas)
    needs = required(spec)
    return {
        "service": spec.name,
        "version": spec.version,
        "shared_by": [each.name for each in spec.members],
        "state": service.state,
        "reason": service.reason,
        "wanted": service.wanted,
        "ready": ready,
        "resources": asdict(spec.resources),
        "limits": asdict(spec.limits),
        "calls": [
            {"service": name, "state": app.services[name].state, "required": name in needs}
            for name in sorted(callees(spec))
        ],
        "called_by": sorted(name for name, other in app.units.items() if spec.name in callees(other.spec)),
        "after": [{"service": name, "state": app.services[name].state} for name in spec.after],
        "urls": [veil(url, ()) for url in app.urls_of(service)],
        # One that came or went while the rows were made is left out: the next look has it.
        "replicas": [of_replica[r.index] | _past(r) for r in service.replicas if r.index in of_replica],
    }


def _past(replica: Replica) -> dict[str, Any]:
    return {
        "generation": replica.generation,
        "core": replica.channel.peer.identity.get("core") if replica.channel and replica.channel.peer else None,
        "failures": replica.failures,
        "budget": BUDGET,
        "retry_at": _instant(replica.retry_at),
        "endings": [
            {
                "time": _instant(ending.time),
                "generation": ending.generation,
                "from": ending.before,
                "after": round(ending.after, 3),
                "reason": ending.reason,
                "last_lines": list(ending.last_lines),
            }
            for ending in replica.endings
        ],
    }


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
