"""Checks the groups of services that share a process (`app.colocate`): names, what members have alike, no circles.

A process has one interpreter, one user, one environment. Members that ask for different ones are refused, each
difference with both values and both places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.kinds import toml_text
from svcd.config.problems import nearest
from svcd.values.secrets import NOT_SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from svcd.config.layers import Entry, Layer, Stack
    from svcd.config.problems import Problem
    from svcd.config.schema import KeyPath
    from svcd.values.specs import ServiceSpec

COLOCATE = ("app", "colocate")


def groups_of(stack: Stack) -> tuple[tuple[str, ...], ...]:
    """Return the groups in force."""
    entries = stack.get(COLOCATE)
    return entries[-1].value if entries else ()


def check_names(layers: Iterable[Layer], services: Iterable[str]) -> Iterator[Problem]:
    """Yield the names in groups that no service has, whether the layer is in force or not."""
    known = list(services)
    for entry in (layer.entries[COLOCATE] for layer in layers if COLOCATE in layer.entries):
        for name in (name for group in entry.value for name in group if name not in known):
            suggestion = nearest(name, known)
            rest = "" if suggestion else f"; the app has {', '.join(known)}"
            yield entry.problem(f"{name}: no such service{rest}", suggestion)


def check_groups(stack: Stack, services: Mapping[str, ServiceSpec]) -> Iterator[Problem]:
    """Yield why groups in force cannot share a process, or must not. services: as they are to run."""
    groups = [group for group in groups_of(stack) if services.keys() >= set(group)]
    if not groups:
        return
    said = stack[COLOCATE][-1]
    for group in groups:
        first = services[group[0]]
        for name in group:
            if services[name].command is not None:
                yield said.problem(
                    f"{name} is a program (its `command`), which always has a process of its own; take it out"
                )
            elif first.command is None:
                yield from _differences(stack, said, first, services[name])
        yield from _gpu_types(stack, said, [services[name] for name in group])
    yield from _circle(said, groups, services)


def _gpu_types(stack: Stack, said: Entry, members: Sequence[ServiceSpec]) -> Iterator[Problem]:
    """Members that ask for GPUs get theirs together: of one type, if any says which."""
    asking = [spec for spec in members if spec.resources.gpu and spec.resources.gpu_type]
    for spec in asking[1:]:
        if spec.resources.gpu_type != asking[0].resources.gpu_type:
            entry = _entry(stack, spec.name, ("resources", "gpu_type")) or said
            yield entry.problem(
                f"differs from gpu_type of {asking[0].name}, which shares its"
                f" process (app.colocate, {said.where}); say the same for both, or take one out of the group"
            )


def _differences(stack: Stack, said: Entry, first: ServiceSpec, other: ServiceSpec) -> Iterator[Problem]:
    mine, its = _alike(first), _alike(other)
    for key in sorted(mine.keys() | its.keys()):
        if mine.get(key, _ABSENT) == its.get(key, _ABSENT):
            continue
        there, here = ((_entry(stack, spec.name, key), spec) for spec in (first, other))
        if here[0] is None:  # the place is to be one that the user can change
            there, here = here, there
        place = f" ({there[0].where})" if there[0] else ""
        message = (
            f"{_shown(key, *here)}, but {there[1].name}, which shares its process (app.colocate, {said.where}),"
            f" has {_shown(key, *there)}{place}; say the same for both, or take one out of the group"
        )
        yield (here[0] or said).problem(message)


_ABSENT = object()


def _alike(spec: ServiceSpec) -> dict[KeyPath, Any]:
    """What all members have to have alike, by the path of its key below the service's table."""
    process = spec.process
    return {
        ("python",): spec.python,
        ("async_backend",): spec.async_backend,
        ("scaling", "min_replicas"): spec.scaling.min_replicas,
        ("scaling", "max_replicas"): spec.scaling.max_replicas,
        **{(name,): getattr(process, name) for name in ("cwd", "umask", "nice", "user", "group")},
        **{("rlimits", name): limit for name, limit in process.rlimits.items()},
        **{("envs", name): value for name, value in spec.envs.items()},
    }


def _entry(stack: Stack, service: str, key: KeyPath) -> Entry | None:
    """Who says it: for the service, or for the whole app."""
    followed = {"min_replicas": (), "max_replicas": ("services", service, "scaling", "min_replicas")}
    entries = stack.get(("services", service, *key)) or stack.get(("app", *key)) or stack.get(followed.get(key[-1], ()))
    return entries[-1] if entries else None


def _shown(key: KeyPath, entry: Entry | None, spec: ServiceSpec) -> str:
    """A value as its user wrote it, or the default; never a secret."""
    value = _alike(spec).get(key, _ABSENT)
    if key[0] == "envs":
        if value is _ABSENT or value is None:
            return "no such variable" if value is _ABSENT else "{ unset = true }"
        return NOT_SHOWN if key[1] in spec.secret_envs else toml_text(value)
    known = schema.key_at(("services", spec.name, *key))
    if entry is None and value in (_ABSENT, ""):
        return known.default_text
    return known.kind.write(value if entry is None else entry.value)


def _circle(said: Entry, groups: Sequence[Sequence[str]], services: Mapping[str, ServiceSpec]) -> Iterator[Problem]:
    """Refuse groups that would have to wait for each other: what one member needs must not need another member."""
    homes = {name: " and ".join(group) for group in groups for name in group}
    needs: dict[str, set[str]] = {}
    for name, spec in services.items():
        home = homes.get(name, name)
        edges = {edge.service for edge in spec.dependencies} | {*spec.after}
        edges |= {edge.fallback for edge in spec.dependencies if edge.fallback}
        needs.setdefault(home, set()).update({homes.get(each, each) for each in edges} - {home})
    circle = _find_circle(needs)
    if circle:
        path = " -> ".join((*circle, circle[0]))
        hint = "put all of them into one group, or take one out"
        yield said.problem(f"processes would depend on each other in a circle: {path}; {hint}")


def _find_circle(needs: Mapping[str, set[str]]) -> list[str]:
    """Return the names on a circle, in order; none when there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name not in done:
            for callee in sorted(needs.get(name, ())):
                if found := visit(callee, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in needs if (found := visit(name, []))), [])
