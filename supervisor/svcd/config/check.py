"""Checks what no single value shows: names that lead nowhere, and values that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.config.command_checks import check_commands
from svcd.config.commands import dormant_commands
from svcd.config.groups import check_names
from svcd.config.layers import is_of_service
from svcd.config.problems import Problem, nearest
from svcd.values.specs import INGRESS, Scaling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.config.layers import Entry, Layer, Stack
    from svcd.config.load import Documents
    from svcd.values.inventory import Inventory


def check_app(documents: Documents, graph: dict[str, Any], stack: Stack) -> Iterator[Problem]:
    """Yield what is wrong with names: of services, of instance types, of the app's classes."""
    services: dict[str, Any] = graph["services"]
    layers = [*documents.layers, *documents.dormant]
    known = [*services, *dormant_commands(documents)]
    for layer in layers:
        yield from _unknown_services(layer, known)
    yield from _unknown_instance_types(layers, stack)
    yield from _taken_names({name: it for name, it in services.items() if not it.get("command")})
    yield from check_commands(graph, stack)
    yield from _cors(stack)
    yield from check_names(layers, services)


def _unknown_services(layer: Layer, services: list[str]) -> Iterator[Problem]:
    folded = {name.casefold() for name in services}
    for path, entry in layer.names.items():
        if len(path) != 2 or path[0] != "services":
            continue
        name = path[1]
        if name in services or (layer.name == "environment" and name.casefold() in folded):
            continue
        suggestion = nearest(name, services)
        known = "" if suggestion else f"; the app has {', '.join(services)}"
        yield entry.problem(f"no such service{known}", suggestion, on_key=True)


def _unknown_instance_types(layers: list[Layer], stack: Stack) -> Iterator[Problem]:
    known = {path[1] for layer in layers for path in layer.names if path[0] == "instance_types"}
    named: dict[int, Entry] = {}
    for entries in (*(layer.entries for layer in layers), {path: found[-1] for path, found in stack.items()}):
        named |= {id(entry): entry for path, entry in entries.items() if is_of_service(path, "instance_type")}
    for entry in named.values():
        if entry.value not in known:
            suggestion = nearest(entry.value, known)
            hint = "" if suggestion else f'; define it: [instance_types."{entry.value}"]'
            yield entry.problem(f"no such instance type{hint}", suggestion)


def _taken_names(services: dict[str, Any]) -> Iterator[Problem]:
    """Names of classes that can't stand beside each other."""
    seen: dict[str, str] = {}
    for name, report in services.items():
        place = {"file": report.get("file"), "line": report.get("line"), "key": f"services.{name}"}
        folded = name.casefold()
        if folded == INGRESS:
            yield Problem(**place, message="the name is svcd's own, for the process that speaks HTTP; rename the class")
        elif folded in seen:
            yield Problem(**place, message=f"differs from {seen[folded]} only in case; rename one of the classes")
        seen.setdefault(folded, name)


def _cors(stack: Stack) -> Iterator[Problem]:
    origins, credentials = stack.get(("app", "cors", "origins")), stack.get(("app", "cors", "credentials"))
    if origins and credentials and credentials[-1].value and "*" in origins[-1].value:
        place = f" ({credentials[-1].where})"
        yield origins[-1].problem(f'"*" cannot be given with credentials{place}, says every browser; name the origins')


def check_service(stack: Stack, name: str) -> Iterator[Problem]:
    """Yield the contradictions among the values of one service."""
    yield from _bounds(stack, name)
    gpus, gpu_type = _gpus(stack, name)
    if gpu_type is not None and not gpus:
        yield gpu_type.problem(f"says which GPUs {name} gets, but it asks for none; give it gpu = 1")


def check_gpus(stack: Stack, name: str, inventory: Inventory) -> Iterator[Problem]:
    """Yield why a service can never be placed on this box's GPUs. A box without any is asked nothing."""
    gpus, gpu_type = _gpus(stack, name)
    if not gpu_type or not inventory.gpus:
        return
    fitting = sum(gpu.is_of(gpu_type.value) for gpu in inventory.gpus)
    if fitting < gpus:
        lack = f"has {fitting} of them, and a replica of {name} needs {gpus}" if fitting else f"has none for {name}"
        yield gpu_type.problem(f"this box {lack}: it has {inventory.names}")


def _gpus(stack: Stack, name: str) -> tuple[int, Entry | None]:
    """Return how many GPUs a replica gets, and where the type is said that they must have."""
    at = ("services", name, "resources")
    count, kind = stack.get((*at, "gpu")), stack.get((*at, "gpu_type"))
    return count[-1].value if count else 0, kind[-1] if kind else None


def _bounds(stack: Stack, name: str) -> Iterator[Problem]:
    at = ("services", name, "scaling")
    least, most = stack.get((*at, "min_replicas")), stack.get((*at, "max_replicas"))
    if most is None:
        return  # it follows the least
    low = least[-1].value if least else Scaling().min_replicas
    if low > most[-1].value:
        place = f" ({least[-1].where})" if least else ""
        yield most[-1].problem(f"max_replicas is {most[-1].value}, below min_replicas, which is {low}{place}")
