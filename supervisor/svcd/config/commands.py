"""Services that are programs: found in the configuration, and made into specs."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.layers import is_of_service, merge, spelled
from svcd.values.commands import HOST, Command, Evidence, Restart, Sign, takes_connections, takes_socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.config.layers import Stack
    from svcd.config.load import Documents

SIGNS = (Sign.HTTP, Sign.TCP, Sign.EXEC, Sign.NOTIFY, Sign.FD)
LIFE_SIGNS = (Sign.HTTP, Sign.EXEC)


def with_commands(documents: Documents, graph: dict[str, Any]) -> dict[str, Any]:
    """Return the graph with a report for each service that the configuration in force makes a program."""
    named = [layer for layer in documents.layers if layer.name != "environment"]  # which spells names its own way
    names = [path[1] for path in merge(named) if is_of_service(path, "command") and path[1] not in graph["services"]]
    stack = merge(spelled(documents.layers, [*graph["services"], *names]))
    reports = {name: _report(name, stack["services", name, "command"][-1].value) for name in names}
    return {**graph, "services": {**graph["services"], **reports}}


def _report(name: str, argv: tuple[str, ...]) -> dict[str, Any]:
    version = sha256(json.dumps(argv).encode()).hexdigest()[:12]
    return {"name": name, "target": "", "version": version, "command": True}


def dormant_commands(documents: Documents) -> list[str]:
    """Names of programs in profiles that were not chosen."""
    return [path[1] for layer in documents.dormant for path in layer.entries if is_of_service(path, "command")]


def command_of(stack: Stack, name: str) -> Command | None:
    """Return what is run, where a service is a program; contradictions are told elsewhere."""
    said = {path[2:]: entries[-1].value for path, entries in stack.items() if path[:2] == ("services", name)}
    argv: tuple[str, ...] | None = said.get(("command",))
    if argv is None:
        return None
    is_oneshot = said.get(("type",)) == "oneshot"
    restart = said.get(("restart",), Restart.ON_FAILURE if is_oneshot else Restart.ALWAYS)
    return Command(
        argv=argv,
        is_oneshot=is_oneshot,
        port=said.get(("port",), 0),
        url="" if is_oneshot else said.get(("url",), _default_url(said, argv)),
        ready=Evidence(sign=Sign.EXIT) if is_oneshot else _readiness(said, argv),
        alive=_liveness(said),
        restart=Restart(restart),
        stop_signal=said.get(("stop_signal",), schema.default("services.*.stop_signal")),
    )


def _default_url(said: Mapping[schema.KeyPath, Any], argv: tuple[str, ...]) -> str:
    """Where it takes connections, "" for one of which nothing says that it does."""
    is_asked = said.get(("readiness", "http")) or said.get(("readiness", "tcp"))
    if not (takes_connections(argv) or ("port",) in said or is_asked):
        return ""
    return "unix:{socket}" if takes_socket(argv) else f"http://{HOST}:{{port}}"


def _readiness(said: Mapping[schema.KeyPath, Any], argv: tuple[str, ...]) -> Evidence:
    for sign in SIGNS:
        if value := said.get(("readiness", sign)):
            return _by(sign, value)
    listens = takes_connections(argv) or ("port",) in said
    return Evidence(sign=Sign.TCP if listens and ("readiness", "tcp") not in said else Sign.SPAWNED)


def _liveness(said: Mapping[schema.KeyPath, Any]) -> Evidence | None:
    for sign in LIFE_SIGNS:
        if value := said.get(("liveness", sign)):
            return replace(_by(sign, value), asks="alive")
    return None


def _by(sign: Sign, value: Any) -> Evidence:
    match sign:
        case Sign.HTTP:
            return Evidence(sign=sign, path=value)
        case Sign.EXEC:
            return Evidence(sign=sign, argv=value)
        case Sign.FD:
            return Evidence(sign=sign, fd=value)
        case _:
            return Evidence(sign=sign)
