"""In which order services start and stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.values.specs import ServiceSpec


def start_waves(services: Mapping[str, ServiceSpec]) -> list[list[str]]:
    """Group services into waves: each requires only services of earlier waves, so a wave starts in parallel.

    Optional dependencies and fallbacks hold nothing up. Names within a wave keep the mapping's order. Raises ValueError
    on a cycle (the graph reader refuses cycles with their path; this is the last line of defence).
    """
    return _waves({name: required(spec) for name, spec in services.items()})


def stop_waves(services: Mapping[str, ServiceSpec]) -> list[list[str]]:
    """Group services into waves for stopping: callers before whatever they may call or come after, optional or not."""
    return _waves({name: leaned_on(spec) for name, spec in services.items()})[::-1]


def required(spec: ServiceSpec) -> set[str]:
    """Names of the services that must be ready, or done, before this one starts."""
    return {edge.service for edge in spec.dependencies if not edge.optional} | {*spec.after}


def leaned_on(spec: ServiceSpec) -> set[str]:
    """Names of all services that are to outlive this one."""
    return callees(spec) | {*spec.after}


def callees(spec: ServiceSpec) -> set[str]:
    """Names of all services that this one may call."""
    fallbacks = {edge.fallback for edge in spec.dependencies if edge.fallback is not None}
    return {edge.service for edge in spec.dependencies} | fallbacks


def needed(services: Mapping[str, ServiceSpec]) -> set[str]:
    """Names of those that an app cannot be ready without: all that its roots require, directly or not.

    A root is what nobody leans on, such as the ingress.
    """
    leaned = set[str]().union(*map(leaned_on, services.values()))
    found, rest = set[str](), [name for name in services if name not in leaned]
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest.extend(required(services[name]))
    return found


def _waves(needs: Mapping[str, set[str]]) -> list[list[str]]:
    waves: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(needs):
        wave = [name for name, needed in needs.items() if name not in placed and needed <= placed]
        if not wave:
            raise ValueError(f"dependency cycle among {', '.join(sorted(needs.keys() - placed))}")
        waves.append(wave)
        placed.update(wave)
    return waves
