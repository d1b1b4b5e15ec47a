"""Start and stop order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.policy.order import start_waves, stop_waves
from svcd.values.specs import DependencySpec, ServiceSpec


def service(name: str, *needs: str, optional: tuple[str, ...] = ()) -> ServiceSpec:
    edges = [DependencySpec(name=need.lower(), service=need, optional=need in optional) for need in needs]
    return ServiceSpec(name=name, target=f"m:{name}", python="/usr/bin/python3", dependencies=tuple(edges))


def by_name(*services: ServiceSpec) -> dict[str, ServiceSpec]:
    return {spec.name: spec for spec in services}


def test_a_diamond_starts_from_its_bottom_and_stops_from_its_top() -> None:
    diamond = by_name(
        service("Top", "Left", "Right"), service("Left", "Base"), service("Right", "Base"), service("Base")
    )
    assert start_waves(diamond) == [["Base"], ["Left", "Right"], ["Top"]]
    assert stop_waves(diamond) == [["Top"], ["Left", "Right"], ["Base"]]


def test_an_optional_dependency_holds_nothing_up() -> None:
    assert start_waves(by_name(service("A", "B", optional=("B",)), service("B"))) == [["A", "B"]]


def test_optional_callees_and_fallbacks_stop_after_their_callers() -> None:
    edge = DependencySpec(name="b", service="B", optional=True, fallback="C")
    caller = ServiceSpec(name="A", target="m:A", python="/usr/bin/python3", dependencies=(edge,))
    services = by_name(caller, service("B"), service("C"))
    assert start_waves(services) == [["A", "B", "C"]]
    assert stop_waves(services) == [["A"], ["B", "C"]]


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="A, B"):
        start_waves(by_name(service("A", "B"), service("B", "A")))


@given(st.data())
def test_nothing_starts_before_what_it_needs(data: st.DataObject) -> None:
    names = [f"S{number}" for number in range(data.draw(st.integers(1, 8)))]
    specs = by_name(*(service(name, *data.draw(st.sets(st.sampled_from(names[:i]) if i else st.nothing())))
                      for i, name in enumerate(names)))  # fmt: skip
    position = {name: index for index, wave in enumerate(start_waves(specs)) for name in wave}
    assert position.keys() == specs.keys()
    assert all(position[edge.service] < position[name] for name, spec in specs.items() for edge in spec.dependencies)
