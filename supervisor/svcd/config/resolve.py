"""Puts the decorators under the layers that were read, and makes the specs of the app from the values that win."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.check import check_app, check_gpus, check_service
from svcd.config.commands import command_of, with_commands
from svcd.config.dotenvs import env_files_layer
from svcd.config.groups import check_groups, groups_of
from svcd.config.layers import Layer, Reader, is_of_service, merge, spelled
from svcd.config.origins import Decorator, dotted
from svcd.config.paths import absolute
from svcd.config.problems import ConfigError, Problem
from svcd.config.pythons import interpreter, python_entry
from svcd.config.variables import variables_of
from svcd.values.specs import (
    ApiSpec,
    AppSpec,
    Cors,
    DependencySpec,
    Http,
    HttpLimits,
    Limits,
    Logs,
    Probe,
    Process,
    Resources,
    Scaling,
    ServiceSpec,
    Traffic,
    default_concurrency,
)
from svcd.values.tasks import TaskSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed import DataclassInstance

    from svcd.config.layers import Entry, Stack
    from svcd.config.load import Documents
    from svcd.values.inventory import Inventory

Report = dict[str, Any]
"""The graph as the discovery child wrote it."""


def resolve(documents: Documents, graph: Report, *, default_python: str) -> AppSpec:
    """Return the whole app as it is to run. Raises ConfigError with all problems.

    `default_python` is the interpreter of services for which the configuration names none.
    """
    problems: list[Problem] = []
    graph = with_commands(documents, graph)
    stack = stack_of(documents, graph, problems)
    problems += check_app(documents, graph, stack)
    services = {}
    for name, report in graph["services"].items():
        problems += check_service(stack, name)
        services[name] = _service(documents, stack, report, default_python, problems)
    problems += check_groups(stack, services)
    if problems:
        raise ConfigError(problems)
    app = partial(_of_app, stack)
    return AppSpec(
        name=documents.app_name,
        root=documents.root,
        entry=graph["entry"],
        http=_http(app),
        orphan_grace=app("orphan_grace"),
        tasks=TaskSettings(**_each(TaskSettings, app, "tasks.") | {"store": documents.task_store}),
        logs=Logs(**_each(Logs, app, "logs.")),
        start_parallelism=app("start_parallelism"),
        services=services,
        groups=groups_of(stack),
        spin=app("spin"),
        arena=app("arena"),
    )


def check_box(documents: Documents, graph: Report, inventory: Inventory) -> None:
    """Compare what services ask for with the machine. Raises ConfigError with all that can never be had here."""
    stack = stack_of(documents, graph, [])
    if problems := [problem for name in graph["services"] for problem in check_gpus(stack, name, inventory)]:
        raise ConfigError(problems)


def placed(documents: Documents, graph: Report, found: Iterable[tuple[schema.KeyPath, str]]) -> ConfigError:
    """Return the error for values that are wrong for a reason found elsewhere, each with the place that set it."""
    stack = stack_of(documents, with_commands(documents, graph), [])
    return ConfigError(
        stack[path][-1].problem(message) if path in stack else Problem(key=dotted(path), message=message)
        for path, message in found
    )


def stack_of(documents: Documents, graph: Report, problems: list[Problem]) -> Stack:
    """Return the entries of every layer for every key, decorators lowest, instance types and env_files expanded."""
    reader = Reader(problems)
    decorators = [_decorator_layer(documents, report, reader) for report in graph["services"].values()]
    layers = [*decorators, *spelled(documents.layers, graph["services"])]
    return merge(_with_env_files(_with_instance_types(layers), problems))


def _decorator_layer(documents: Documents, report: Report, reader: Reader) -> Layer:
    file = report.get("file")
    base = Path(file).parent if file else documents.root
    source = Decorator(_shown(file, documents.root), report.get("line"), base)
    said = {name: value for name, value in (report.get("config") or {}).items() if value is not None}
    at = ("services", report["name"])
    for name in list(said):
        key = schema.SERVICE.children.get(name)
        if isinstance(key, schema.Key) and not key.in_decorator:
            message = "belongs in the TOML file: it is needed before the class is imported"
            reader.problems.append(source.problem((*at, name), message))
            del said[name]
    return reader.read("decorator", said, source, at=at)


def _shown(file: str | None, root: Path) -> str:
    """Name a Python file by its path from the app's folder where it lies in it."""
    if not file:
        return "the class"
    path = Path(file)
    return str(path.relative_to(root)) if path.is_relative_to(root) else file


def _with_instance_types(layers: list[Layer]) -> list[Layer]:
    """Put each service's instance type just under the layer that names it.

    Only the instance type that wins counts: a layer that names another one replaces the shape, and does not mix two.
    """
    shapes: dict[str, dict[str, Entry]] = {}
    for (first, *rest), entries in merge(layers).items():
        if first == "instance_types":
            shapes.setdefault(rest[0], {})[rest[1]] = entries[-1]
    wins = {path: entries[-1] for path, entries in merge(layers).items() if is_of_service(path, "instance_type")}
    expanded = []
    for layer in layers:
        shape = Layer("instance type")
        for path, entry in layer.entries.items():
            if wins.get(path) is entry:
                fields = shapes.get(entry.value, {})
                shape.entries.update({(*path[:2], "resources", name): field for name, field in fields.items()})
        expanded += [shape, layer]
    return expanded


def _with_env_files(layers: list[Layer], problems: list[Problem]) -> list[Layer]:
    """Put what each service's env_files say just under the layer that names them; only the ones that win are read."""
    wins = {path: entries[-1] for path, entries in merge(layers).items() if is_of_service(path, "env_file")}
    expanded = []
    for layer in layers:
        named = [path for path, entry in layer.entries.items() if wins.get(path) is entry]
        expanded += [*(env_files_layer(layer.entries[path], path[:2], problems) for path in named), layer]
    return expanded


def _of_app(stack: Stack, key: str) -> Any:
    """Return what is in force for a key of `[app]`."""
    return _value(stack, f"app.{key}", ("app", *key.split(".")))


def _of_service(stack: Stack, name: str, key: str) -> Any:
    """Return what is in force for a key of `[services.NAME]`."""
    return _value(stack, f"services.*.{key}", ("services", name, *key.split(".")))


def _value(stack: Stack, key: str, path: schema.KeyPath) -> Any:
    entries = stack.get(path)
    return entries[-1].value if entries else schema.default(key)


def _each(kind: type[DataclassInstance], value: Callable[[str], Any], table: str) -> dict[str, Any]:
    """Return what is in force for every field of a class, each being a key of `table`."""
    return {field.name: value(table + field.name) for field in fields(kind)}


def _http(app: Callable[[str], Any]) -> Http:
    host, port = app("http")
    return Http(
        host=host,
        port=port,
        replicas=app("ingress.replicas"),
        limits=HttpLimits(**_each(HttpLimits, app, "")),
        cors=Cors(**_each(Cors, app, "cors.")),
    )


def _service(
    documents: Documents, stack: Stack, report: Report, default_python: str, problems: list[Problem]
) -> ServiceSpec:
    name = report["name"]
    value = partial(_of_service, stack, name)
    apis = tuple(ApiSpec(**_only(ApiSpec, api)) for api in report.get("apis", ()))
    envs = {path[3]: entries[-1] for path, entries in stack.items() if path[:3] == ("services", name, "envs")}
    variables = variables_of(envs, documents.sources.environ, problems)
    return ServiceSpec(
        name=name,
        target=report["target"],
        python=_python(documents, stack, name, default_python),
        version=value("version") or report.get("version") or "",
        resources=Resources(**_each(Resources, value, "resources.")),
        traffic=_traffic(value, apis),
        scaling=_scaling(value),
        limits=Limits(start=value("start_timeout"), drain=value("drain_timeout"), stop=value("stop_timeout")),
        liveness=Probe(**_each(Probe, value, "liveness.")),
        readiness=Probe(**_each(Probe, value, "readiness.")),
        threads=value("threads"),
        async_backend=value("async_backend") or _of_app(stack, "async_backend"),
        process=_process(stack, name),
        envs=variables.values,
        secret_envs=tuple(sorted(variables.secret)),
        apis=apis,
        after=value("after") or (),
        command=command_of(stack, name),
        dependencies=tuple(DependencySpec(**_only(DependencySpec, edge)) for edge in report.get("dependencies", ())),
    )


def _python(documents: Documents, stack: Stack, service: str, default: str) -> str:
    named = python_entry(stack, service)
    if named is None:
        return os.path.abspath(default)  # noqa: PTH100 - resolves no link
    return interpreter(named, documents.sources.environ)


def _traffic(value: Callable[[str], Any], apis: tuple[ApiSpec, ...]) -> Traffic:
    said = _each(Traffic, value, "traffic.")
    largest = max((api.max_batch_size for api in apis), default=0)
    return Traffic(**said | {"max_concurrency": said["max_concurrency"] or default_concurrency(largest)})


def _scaling(value: Callable[[str], Any]) -> Scaling:
    said = _each(Scaling, value, "scaling.")
    return Scaling(**said | {"max_replicas": said["max_replicas"] or said["min_replicas"]})


def _process(stack: Stack, service: str) -> Process:
    here = ("services", service)
    cwd = stack.get((*here, "cwd"))
    said = {name: stack[*here, name][-1].value for name in ("umask", "nice", "user", "group") if (*here, name) in stack}
    return Process(
        cwd=absolute(cwd[-1]) if cwd else "",
        rlimits={path[3]: entries[-1].value for path, entries in stack.items() if path[:3] == (*here, "rlimits")},
        **said,
    )


def _only(kind: type[DataclassInstance], said: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a class has a field for; the report may say more."""
    return {field.name: said[field.name] for field in fields(kind) if field.name in said}
