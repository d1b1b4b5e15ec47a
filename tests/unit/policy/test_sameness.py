"""What makes a running process another than the configuration wants, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from svcd.policy.sameness import fingerprint
from svcd.values.specs import (
    INGRESS,
    ApiSpec,
    AppSpec,
    DependencySpec,
    Http,
    Limits,
    Process,
    Scaling,
    ServiceSpec,
    Traffic,
)

MODEL = ServiceSpec(name="Model", target="m:Model", python="/usr/bin/python3", version="1", apis=(ApiSpec(name="run"),))
ENTRY = ServiceSpec(
    name="Entry",
    target="m:Entry",
    python="/usr/bin/python3",
    version="1",
    envs={"MODE": "old"},
    dependencies=(DependencySpec(name="model", service="Model"),),
)
FRONT = ServiceSpec(
    name=INGRESS,
    target="svcd.ingress",
    python="/usr/bin/python3",
    version="0.1.0",
    dependencies=(DependencySpec(name="entry", service="Entry"),),
)


def app(
    entry: ServiceSpec = ENTRY, model: ServiceSpec = MODEL, front: ServiceSpec = FRONT, port: int = 3000
) -> AppSpec:
    services = {each.name: each for each in (front, entry, model)}
    return AppSpec(name="app", root=Path("/app"), entry="Entry", http=Http(port=port), services=services)


def of(name: str, changed: AppSpec) -> bool:
    """Whether a process of the app as it is above is the same still."""
    return fingerprint(changed, changed.services[name]) == fingerprint(app(), app().services[name])


@pytest.mark.parametrize(
    "changed",
    [
        replace(ENTRY, version="2"),
        replace(ENTRY, envs={"MODE": "new"}),
        replace(ENTRY, python="/venv/bin/python"),
        replace(ENTRY, threads=2),
        replace(ENTRY, traffic=Traffic(timeout=5)),
        replace(ENTRY, process=Process(nice=5)),
        replace(ENTRY, dependencies=()),
    ],
    ids=["code", "environment", "interpreter", "threads", "timeout", "priority", "dependencies"],
)
def test_what_a_process_is_started_with_counts(changed: ServiceSpec) -> None:
    assert not of("Entry", app(entry=changed))
    assert of("Model", app(entry=changed)), "but not for those it calls"


def test_how_many_there_are_and_how_long_they_take_is_the_daemons_own() -> None:
    changed = replace(ENTRY, scaling=Scaling(min_replicas=3, max_replicas=9), limits=Limits(start=1, drain=2, stop=3))
    assert of("Entry", app(entry=changed))


def test_what_a_caller_is_told_of_its_callee_counts_for_the_caller() -> None:
    assert not of("Entry", app(model=replace(MODEL, traffic=Traffic(max_queue=1))))
    assert not of("Entry", app(model=replace(MODEL, apis=(ApiSpec(name="run", idempotent=True),))))
    assert of("Entry", app(model=replace(MODEL, version="2"))), "its code is its own affair"


def test_an_ingress_of_another_svcd_is_kept_and_one_with_another_address_is_not() -> None:
    assert of(INGRESS, app(front=replace(FRONT, version="0.2.0")))
    assert not of(INGRESS, app(port=3001))


def test_an_ingress_serves_on_when_the_code_of_its_entry_changes() -> None:
    new_code = replace(ENTRY, version="2", apis=(ApiSpec(name="run"), ApiSpec(name="more")))
    assert of(INGRESS, app(entry=new_code)), "it asks what apis there are, and is told the version"
    assert not of(INGRESS, app(entry=replace(ENTRY, traffic=Traffic(timeout=5))))
    assert not of(INGRESS, app(entry=replace(ENTRY, apis=(ApiSpec(name="run", is_task=True),)))), "tasks need a store"


def test_fields_with_their_defaults_say_nothing() -> None:
    """So a later svcd may have more of them."""
    assert of("Entry", app(entry=replace(ENTRY, members=(), secret_envs=(), async_backend="trio")))
