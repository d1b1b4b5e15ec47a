"""Services that share a process: what their process needs, waits for and is called.

Law: to whoever places, starts, watches and scales, a group is one service, named for its first member. Its needs are
the sum of its members' needs; what all members have to have alike has been checked by the configuration.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from svcd.policy.order import leaned_on, start_waves
from svcd.values.specs import DependencySpec, Limits, Probe, Resources, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

N = TypeVar("N", int, float)


def units_of(services: Mapping[str, ServiceSpec], groups: Iterable[Sequence[str]]) -> dict[str, ServiceSpec]:
    """Return what is started and scaled as one: services as they are, and for each group one spec, by its first member.

    Dependencies of all are on units. The order is that of the services.
    """
    homes = {name: group[0] for group in groups for name in group}
    by_name = {group[0]: group for group in groups}
    found: dict[str, ServiceSpec] = {}
    for name, spec in services.items():
        home = homes.get(name, name)
        if home not in found:
            members = [services[each] for each in by_name[home]] if home in by_name else [spec]
            found[home] = _unit(members, homes)
    return found


def _unit(members: Sequence[ServiceSpec], homes: Mapping[str, str]) -> ServiceSpec:
    first = members[0]
    home = homes.get(first.name, first.name)
    after = {homes.get(name, name) for member in members for name in member.after}
    alone = replace(first, dependencies=tuple(_edges(members, homes, home)), after=tuple(sorted(after - {home})))
    if len(members) == 1:
        return alone
    return replace(
        alone,
        resources=_sum([member.resources for member in members]),
        limits=_limits([member.limits for member in members]),
        liveness=_most_patient([member.liveness for member in members]),
        secret_envs=tuple(sorted({name for member in members for name in member.secret_envs})),
        members=tuple(_in_order(members)),
    )


def _edges(members: Sequence[ServiceSpec], homes: Mapping[str, str], home: str) -> Iterator[DependencySpec]:
    """What the members call outside of their process; a fallback is an edge like an optional one."""
    for member in members:
        for edge in member.dependencies:
            if (callee := homes.get(edge.service, edge.service)) != home:
                yield replace(edge, service=callee, fallback=None)
            if edge.fallback and (callee := homes.get(edge.fallback, edge.fallback)) != home:
                yield replace(edge, service=callee, fallback=None, optional=True)


def _in_order(members: Sequence[ServiceSpec]) -> Iterator[ServiceSpec]:
    """Each member after all members that it may call or comes after."""
    by_name = {member.name: member for member in members}
    within = {
        name: replace(member, dependencies=(), after=tuple(leaned_on(member) & by_name.keys()))
        for name, member in by_name.items()
    }
    return (by_name[name] for wave in start_waves(within) for name in wave)


def _sum(needs: Sequence[Resources]) -> Resources:
    """Who asks for no share adds none; the sum limits them all."""
    return Resources(
        gpu=sum(each.gpu for each in needs),
        gpu_type=next((each.gpu_type for each in needs if each.gpu_type), None),
        cpu=_total([each.cpu for each in needs if each.cpu is not None]),
        memory=_total([each.memory for each in needs if each.memory is not None]),
    )


def _total(given: Sequence[N]) -> N | None:
    return sum(given) if given else None


def _limits(limits: Sequence[Limits]) -> Limits:
    """Members start and end one after the other; their calls finish side by side."""
    return Limits(
        start=sum(each.start for each in limits),
        drain=max(each.drain for each in limits),
        stop=sum(each.stop for each in limits),
    )


def _most_patient(probes: Sequence[Probe]) -> Probe:
    """They live and die together: a member that says nothing of it must not end those that ask for patience."""
    return Probe(
        period=max(each.period for each in probes),
        timeout=max(each.timeout for each in probes),
        threshold=max(each.threshold for each in probes),
    )
