"""Checks services that are programs against all others: keys, names, signs, placeholders, order, ports."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.command_keys import NAME
from svcd.config.commands import LIFE_SIGNS, SIGNS, command_of
from svcd.config.problems import Problem, nearest
from svcd.values.commands import PLACEHOLDERS, Restart, Sign, strange_words
from svcd.values.specs import Scaling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from svcd.config.layers import Entry, Stack

RESERVED = {"ingress", "daemon", "keeper", "discovery"}
"""Names of svcd's own processes, in lower case."""
_VARIABLES = {
    "PORT": "`port` says which port it is to have",
    "SOCKET": "`command` may have {socket} where it wants it otherwise",
    "NOTIFY_SOCKET": "`readiness.notify` has it hear what the program says",
}


def check_commands(graph: dict[str, Any], stack: Stack) -> Iterator[Problem]:
    """Yield what is wrong with programs, with what comes after what, and with ports."""
    services: dict[str, Any] = graph["services"]
    for name, report in services.items():
        is_command = bool(report.get("command"))
        yield from _misplaced_keys(stack, name, report, is_command=is_command)
        if is_command:
            yield from _name(stack, name, services)
            yield from _contradictions(stack, name)
            yield from _taken_variables(stack, name)
            yield from _placeholders(stack, name)
        else:
            yield from _edges(name, report, services)
        yield from _after(stack, name, services)
    yield from _ports(stack, services)
    yield from _circle(stack, services)


def _of(stack: Stack, name: str, *key: str) -> Entry | None:
    entries = stack.get(("services", name, *key))
    return entries[-1] if entries else None


def _misplaced_keys(stack: Stack, name: str, report: dict[str, Any], *, is_command: bool) -> Iterator[Problem]:
    """Keys that mean nothing to a service of this kind: to say nothing would be to drop them in silence."""
    own = {path: entries[-1] for path, entries in stack.items() if path[:2] == ("services", name)}
    for path, entry in own.items():
        of = schema.key_at(path).of
        if is_command and of == "class":
            yield entry.problem(f"is for services that are classes; {name} is a command service", on_key=True)
        elif is_command or of != "command":
            continue
        elif path[2:] == ("command",):
            place = f" ({report.get('file')}:{report.get('line')})" if report.get("file") else ""
            yield entry.problem(f"{name} is a class{place}; give the command service another name", on_key=True)
        elif ("services", name, "command") not in own:
            message = f'is for command services; {name} is a class, and has no `command = ["program", ...]`'
            yield entry.problem(message, on_key=True)


def _name(stack: Stack, name: str, services: dict[str, Any]) -> Iterator[Problem]:
    command = _of(stack, name, "command")
    if command is None:
        return
    others = [other for other in services if other != name and other.casefold() == name.casefold()]
    if re.fullmatch(NAME, name) is None:
        yield command.problem(f"{name!r} is no name of a service: letters, digits, - and _, beginning with a letter")
    elif name.casefold() in RESERVED:
        yield command.problem(f"the name {name} is svcd's own; take another")
    elif others:
        yield command.problem(f"{name} differs from {others[0]} only in case; take another name")


def _contradictions(stack: Stack, name: str) -> Iterator[Problem]:
    kind, restart = _of(stack, name, "type"), _of(stack, name, "restart")
    yield from _second_signs(stack, name, "readiness", SIGNS, "being ready")
    yield from _second_signs(stack, name, "liveness", LIFE_SIGNS, "life")
    yield from _idle_probes(stack, name)
    if kind is None or kind.value != "oneshot":
        return
    keys: tuple[tuple[str, ...], ...] = (
        *(("port",), ("url",)),
        *(("readiness", sign) for sign in SIGNS),
        *(("liveness", sign) for sign in LIFE_SIGNS),
    )
    for key in keys:
        entry = _of(stack, name, *key)
        if entry and entry.value:
            yield entry.problem(
                f"a oneshot ({kind.where}) takes no connections: it is done when it exits 0", on_key=True
            )
    if restart and restart.value == Restart.ALWAYS:
        yield restart.problem(
            f'a oneshot ({kind.where}) that is done is not started again; say "on-failure" or "never"'
        )
    for bound in ("min_replicas", "max_replicas"):
        if (entry := _of(stack, name, "scaling", bound)) and entry.value > 1:
            yield entry.problem(f"a oneshot ({kind.where}) runs once")


def _taken_variables(stack: Stack, name: str) -> Iterator[Problem]:
    """Variables by which svcd tells a program where it is to be."""
    for variable, hint in _VARIABLES.items():
        if entry := _of(stack, name, "envs", variable):
            yield entry.problem(f"svcd sets it for command services; {hint}", on_key=True)


def _second_signs(stack: Stack, name: str, probe: str, signs: Sequence[Sign], of: str) -> Iterator[Problem]:
    said = [entry for sign in signs if (entry := _of(stack, name, probe, sign)) and entry.value]
    for one, other in pairwise(said):
        yield other.problem(f"is a second sign of {of}, beside {_last(one)} ({one.where}); say one", on_key=True)


def _idle_probes(stack: Stack, name: str) -> Iterator[Problem]:
    """Figures of probes that look at nothing; what `svcd config` prints has the defaults of all of them."""
    command = command_of(stack, name)
    looks = {
        "readiness": command is not None and command.ready.sign in {Sign.HTTP, Sign.TCP, Sign.EXEC},
        "liveness": command is not None and command.alive is not None,
    }
    for probe, has_effect in looks.items():
        for figure in ("period", "timeout", "threshold"):
            entry = None if has_effect else _of(stack, name, probe, figure)
            if entry and entry.value != schema.default(f"services.*.{probe}.{figure}"):
                hint = f"say {probe}.http or {probe}.exec"
                yield entry.problem(f"has no effect: the program is not looked at; {hint}", on_key=True)


def _last(entry: Entry) -> str:
    return entry.said_as[-1]


def _placeholders(stack: Stack, name: str) -> Iterator[Problem]:
    """Words in braces that were probably meant to be filled in."""
    for key in (("command",), ("readiness", "exec"), ("url",)):
        entry = _of(stack, name, *key)
        texts = entry.value if entry and isinstance(entry.value, tuple) else [entry.value] if entry else []
        for word in (word for text in texts for word in strange_words(text)):
            if entry and (meant := nearest(word, PLACEHOLDERS)):
                yield entry.problem(f"{{{word}}} is not filled in", f"{{{meant}}}")


def _edges(name: str, report: dict[str, Any], services: dict[str, Any]) -> Iterator[Problem]:
    """Dependencies of a class on programs that are none."""
    for edge in report.get("dependencies", ()):
        wanted = edge["service"]
        if ":" in edge["target"] or services.get(wanted, {}).get("command"):
            continue
        place: dict[str, Any] = {
            "file": report.get("file"),
            "line": report.get("line"),
            "key": f"{name}.{edge['name']}",
        }
        if wanted in services:
            target = services[wanted]["target"]
            yield Problem(**place, message=f'{wanted} is a class: svcd.depends({wanted}), or svcd.depends("{target}")')
            continue
        meant = nearest(wanted, [other for other, it in services.items() if it.get("command")])
        hint = "" if meant else f'; declare it: [services.{wanted}] command = ["program", ...]'
        yield Problem(**place, message=f"there is no command service {wanted}{hint}", suggestion=meant)


def _after(stack: Stack, name: str, services: dict[str, Any]) -> Iterator[Problem]:
    entry = _of(stack, name, "after")
    for other in entry.value if entry else ():
        if entry and other not in services:
            meant = nearest(other, services)
            known = "" if meant else f"; the app has {', '.join(services)}"
            yield entry.problem(f"no such service: {other}{known}", meant)


def _circle(stack: Stack, services: dict[str, Any]) -> Iterator[Problem]:
    waits: dict[str, list[str]] = {}
    for name, report in services.items():
        entry = _of(stack, name, "after")
        edges = report.get("dependencies", ())
        callees = [callee for edge in edges for callee in (edge["service"], edge.get("fallback"))]
        named = [*callees, *(entry.value if entry else ())]
        waits[name] = [other for other in named if other in services]
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][::-1]  # graphlib goes from what is waited for to who waits
        entry = next((found for name in circle if (found := _of(stack, name, "after"))), None)
        if entry:  # what classes alone make of themselves is told with their places when the graph is read
            told = f"services wait for each other in a circle: {' -> '.join(circle)}; take one of them out of `after`"
            yield entry.problem(told)


def _ports(stack: Stack, services: dict[str, Any]) -> Iterator[Problem]:
    """One port for two: whoever came second would crash for as long as the first one lives."""
    http = stack.get(("app", "http"))
    default: tuple[str, int] = schema.default("app.http")
    port = (http[-1].value if http else default)[1]
    taken = {port: f"app.http ({http[-1].where})" if http else "app.http (its default)"} if port else {}
    for name, report in services.items():
        entry = _of(stack, name, "port")
        if entry is None or not report.get("command"):
            continue
        if holder := taken.get(entry.value):
            yield entry.problem(f"the port is that of {holder}; give one of them another")
        taken.setdefault(entry.value, f"services.{name}.port ({entry.where})")
        least = _of(stack, name, "scaling", "min_replicas")
        count = least.value if least else Scaling().min_replicas
        if least and count > 1:
            yield entry.problem(f"{count} replicas ({least.where}) cannot share one port; without it each gets its own")
