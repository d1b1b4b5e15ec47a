"""Random graphs in random groups: the configuration refuses exactly those that could not be started and stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from svcd.config.groups import COLOCATE, check_groups
from svcd.config.layers import Entry
from svcd.config.origins import Remark
from svcd.policy.groups import units_of
from svcd.policy.order import leaned_on, start_waves, stop_waves
from svcd.values.specs import DependencySpec, Resources, ServiceSpec

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

Groups = tuple[tuple[str, ...], ...]


@st.composite
def graphs(draw: DrawFn) -> dict[str, ServiceSpec]:
    """Services that lean on earlier ones, in each of the ways there are."""
    services: dict[str, ServiceSpec] = {}
    for number in range(draw(st.integers(2, 7))):
        earlier = sorted(services)
        callees = draw(st.sets(st.sampled_from(earlier))) if earlier else set()
        edges = [
            DependencySpec(
                name=callee.lower(),
                service=callee,
                optional=draw(st.booleans()),
                fallback=draw(st.sampled_from([None, *earlier])),
            )
            for callee in sorted(callees)
        ]
        services[f"S{number}"] = ServiceSpec(
            name=f"S{number}",
            target="m:S",
            python="/p",
            dependencies=tuple(edges),
            after=tuple(draw(st.sets(st.sampled_from(earlier), max_size=1))) if earlier else (),
            resources=Resources(gpu=draw(st.integers(0, 2))),
        )
    return services


@st.composite
def grouped(draw: DrawFn) -> tuple[dict[str, ServiceSpec], Groups]:
    """A graph, and groups of its services."""
    services = draw(graphs())
    numbers = {name: draw(st.integers(0, 3)) for name in draw(st.permutations(list(services)))}
    groups = [tuple(name for name, number in numbers.items() if number == each) for each in range(1, 4)]
    return services, tuple(group for group in groups if len(group) > 1)


def problems_of(services: dict[str, ServiceSpec], groups: Groups) -> list[str]:
    entry = Entry(groups, Remark("--set app.colocate", Path(), "--set"), COLOCATE)
    return [problem.message for problem in check_groups({COLOCATE: [entry]}, services)]


@given(grouped())
def test_what_is_not_refused_starts_and_stops_in_order(case: tuple[dict[str, ServiceSpec], Groups]) -> None:
    services, groups = case
    units = units_of(services, groups)
    try:
        waves = stop_waves(units)
    except ValueError:
        assert "in a circle" in problems_of(services, groups)[0]
        return
    assert problems_of(services, groups) == []
    assert sorted(name for wave in waves for name in wave) == sorted(units)
    place = {
        each.name: len(waves) - number for number, wave in enumerate(waves) for unit in wave for each in units[unit].all
    }
    started = {
        each.name: number for number, wave in enumerate(start_waves(units)) for unit in wave for each in units[unit].all
    }
    for name, spec in services.items():
        home = next(unit for unit in units.values() if name in {each.name for each in unit.all})
        order = [each.name for each in home.all]
        for other in leaned_on(spec):
            if other in order:
                assert order.index(other) < order.index(name)
            else:
                assert place[other] < place[name]
        for edge in spec.dependencies:
            assert edge.optional or edge.service in order or started[edge.service] < started[name]


@given(grouped())
def test_every_service_runs_once_and_nothing_it_needs_is_lost(case: tuple[dict[str, ServiceSpec], Groups]) -> None:
    services, groups = case
    units = units_of(services, groups)
    assert sorted(each.name for unit in units.values() for each in unit.all) == sorted(services)
    assert {name for name, unit in units.items() if unit.members} == {group[0] for group in groups}
    assert sum(unit.resources.gpu for unit in units.values()) == sum(spec.resources.gpu for spec in services.values())
