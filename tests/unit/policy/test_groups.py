"""Groups that share a process become one unit: what it needs, waits for, and in which order its members start."""

from __future__ import annotations

from typing import Any

import pytest

from svcd.policy.groups import units_of
from svcd.policy.order import callees, required
from svcd.values.specs import DependencySpec, Limits, Probe, Resources, ServiceSpec


def app(**services: Any) -> dict[str, ServiceSpec]:
    """Return specs: each is a list of what it calls (`?X` optionally, `X/Y` with the fallback Y), or its fields."""
    return {
        name: service(name, **(said if isinstance(said, dict) else {"calls": said})) for name, said in services.items()
    }


def service(name: str, *, calls: list[str] = (), **fields: Any) -> ServiceSpec:  # type: ignore[assignment]  # no default list
    edges = []
    for call in calls:
        callee, _, fallback = call.removeprefix("?").partition("/")
        edges.append(
            DependencySpec(
                name=callee.lower(), service=callee, optional=call.startswith("?"), fallback=fallback or None
            )
        )
    return ServiceSpec(name=name, target=f"m:{name}", python="/p", dependencies=tuple(edges), **fields)


def test_without_groups_units_are_the_services() -> None:
    services = app(A=["B", "?C", "D/E"], B=[], C=[], D=[], E=[])
    units = units_of(services, ())
    assert list(units) == ["A", "B", "C", "D", "E"]
    assert [(required(unit), callees(unit)) for unit in units.values()] == [
        (required(spec), callees(spec)) for spec in services.values()
    ]
    assert units["A"].members == ()
    assert units["A"].all == (units["A"],)


def test_a_group_is_one_unit_by_the_name_of_its_first() -> None:
    units = units_of(app(Entry=["Mid", "Low"], Mid=["Low"], Low=[]), [("Mid", "Low")])
    assert list(units) == ["Entry", "Mid"]
    assert [member.name for member in units["Mid"].members] == ["Low", "Mid"]
    assert (required(units["Entry"]), required(units["Mid"])) == ({"Mid"}, set())


def test_members_start_after_those_they_may_call_or_come_after() -> None:
    services = app(A=["?B"], B=["X/C"], C={"after": ("D",)}, D=["X"], X=[])
    members = units_of(services, [("A", "B", "C", "D")])["A"].members
    assert [member.name for member in members] == ["D", "C", "B", "A"]


def test_what_is_outside_is_waited_for_and_what_is_inside_is_not() -> None:
    inside = {"A": ["B", "X", "?Y"], "B": {"calls": ["Z/C", "U/W"], "after": ("V", "C")}, "C": []}
    services = app(**inside, U=[], V=[], W=[], X=[], Y=[], Z=[])
    unit = units_of(services, [("A", "B", "C"), ("W", "U")])["A"]
    assert required(unit) == {"X", "Z", "W", "V"}  # U is in the process of W
    assert callees(unit) == {"X", "Y", "Z", "W"}


def test_a_fallback_outside_holds_up_nobody() -> None:
    services = app(A=["B/X"], B=[], X=[])
    unit = units_of(services, [("A", "B")])["A"]
    assert (required(unit), callees(unit)) == (set(), {"X"})


@pytest.mark.parametrize(
    ("needs", "total"),
    [
        ([Resources(gpu=1), Resources(gpu=2)], Resources(gpu=3)),
        ([Resources(gpu=1, gpu_type="A100"), Resources(), Resources(gpu=1)], Resources(gpu=2, gpu_type="A100")),
        ([Resources(cpu=0.5), Resources(cpu=2)], Resources(cpu=2.5)),
        ([Resources(cpu=1, memory=100), Resources(), Resources(memory=11)], Resources(cpu=1, memory=111)),
        ([Resources(), Resources()], Resources()),
    ],
)
def test_what_they_need_is_added_up(needs: list[Resources], total: Resources) -> None:
    services = {f"S{number}": service(f"S{number}", resources=need) for number, need in enumerate(needs)}
    assert units_of(services, [tuple(services)])["S0"].resources == total


def test_start_and_end_take_their_time_one_after_the_other() -> None:
    services = app(
        A={"limits": Limits(start=10, drain=1, stop=2), "liveness": Probe(period=9, timeout=1, threshold=1)},
        B={"limits": Limits(start=20, drain=30, stop=3), "liveness": Probe(period=1, timeout=7, threshold=2)},
    )
    unit = units_of(services, [("A", "B")])["A"]
    assert unit.limits == Limits(start=30, drain=30, stop=5)
    assert unit.liveness == Probe(period=9, timeout=7, threshold=2)


def test_a_secret_of_one_is_a_secret_of_all() -> None:
    services = app(A={"envs": {"K": "v"}, "secret_envs": ("K",)}, B={"envs": {"K": "v"}})
    assert units_of(services, [("B", "A")])["B"].secret_envs == ("K",)
