"""Whether a process that runs is what the configuration wants now. Pure.

What counts is all that reaches the process when it starts: its own settings, its environment, its code's version, and
what it is told of those it calls. How many there are, and how long they may take to start and to stop, is the daemon's
alone. Fields that have their defaults are left out, so that a newer svcd, which has more of them, does not find all of
its predecessor's processes changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from svcd.policy.order import callees
from svcd.values.specs import INGRESS

if TYPE_CHECKING:
    from svcd.values.specs import AppSpec, ServiceSpec

_DAEMONS_OWN = frozenset({"scaling", "limits"})


def fingerprint(app: AppSpec, spec: ServiceSpec) -> str:
    """Return a digest of what a process of a service (or of a group) would be started with."""
    told: dict[str, Any] = {"root": str(app.root), "members": [_settings(member) for member in spec.all]}
    if spec.name == INGRESS:
        told |= _of_ingress(app)
        # Not svcd's own version: an ingress of the last one serves on, until somebody restarts it.
        told["members"][0].pop("version", None)
    else:
        called = {name for member in spec.all for name in callees(app.services.get(member.name, member))}
        told["called"] = {name: _callee(app.services[name]) for name in sorted(called) if name in app.services}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _of_ingress(app: AppSpec) -> dict[str, Any]:
    """What it is told besides; what apis the entry has, and in which version, it asks and hears while it runs."""
    entry = app.services[app.entry]
    http = {key: value for key, value in _plain(app.http).items() if key != "replicas"}
    tasks = _plain(app.tasks) if any(api.is_task for api in entry.apis) else None
    return {"http": http, "traffic": _plain(entry.traffic), "tasks": tasks}


def _settings(spec: ServiceSpec) -> dict[str, Any]:
    return {name: value for name, value in _plain(spec).items() if name not in _DAEMONS_OWN}


def _callee(spec: ServiceSpec) -> dict[str, Any]:
    return {"traffic": _plain(spec.traffic), "apis": _plain(spec.apis), "is_command": spec.command is not None}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {
            each.name: _plain(getattr(value, each.name))
            for each in fields(value)
            if getattr(value, each.name) != _default(each)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    return value


def _default(each: Any) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default
