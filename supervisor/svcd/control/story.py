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
    from collections.abc import Iterable, Mapping

    from svcd.runtime.app import App
    from svcd.runtime.service import Service
    from svcd.values.events import Change


def story(app: App, service: Service, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all that is known of a service. rows: those of `svcd ps`, its replicas' among them."""
    of_replica = {row["replica"]: row for row in rows if row["service"] == service.spec.name}
    # One that came or went while the rows were made is left out: the next look has it.
    replicas = [
        of_replica[each.index]
        | past(each.generation, each.failures, each.endings, each.retry_at)
        | {"core": each.channel.peer.identity.get("core") if each.channel and each.channel.peer else None}
        for each in service.replicas
        if each.index in of_replica
    ]
    told = outline(app, service)
    states = {name: each.state for name, each in app.services.items()}
    return with_states(told, states) | {
        "reason": service.reason,
        "wanted": service.wanted,
        "ready": sum(replica.state is State.READY for replica in service.replicas),
        "urls": [veil(url, ()) for url in app.whereabouts.urls(service)],
        "replicas": replicas,
    }


def outline(app: App, service: Service) -> dict[str, Any]:
    """Return what stays the same for as long as the configuration does."""
    spec = service.spec
    needs = required(spec)
    return {
        "service": spec.name,
        "version": spec.version,
        "shared_by": [each.name for each in spec.members],
        "resources": asdict(spec.resources),
        "limits": asdict(spec.limits),
        "calls": [{"service": name, "required": name in needs} for name in sorted(callees(spec))],
        "called_by": sorted(name for name, other in app.units.items() if spec.name in callees(other.spec)),
        "after": [{"service": name} for name in spec.after],
    }


def with_states(told: Mapping[str, Any], states: Mapping[str, str]) -> dict[str, Any]:
    """Return an outline with the states of the service and of those that it names."""
    named = {key: [each | {"state": states[each["service"]]} for each in told[key]] for key in ("calls", "after")}
    return {**told, "state": states[told["service"]], **named}


def past(generation: int, failures: int, endings: Iterable[Change], retry_at: float | None = None) -> dict[str, Any]:
    """Return how a replica came to be what it is."""
    return {
        "generation": generation,
        "core": None,
        "failures": failures,
        "budget": BUDGET,
        "retry_at": _instant(retry_at),
        "endings": [
            {
                "time": _instant(ending.time),
                "generation": ending.generation,
                "from": ending.before,
                "after": round(ending.after, 3),
                "reason": ending.reason,
                "last_lines": list(ending.last_lines),
            }
            for ending in endings
        ],
    }


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
