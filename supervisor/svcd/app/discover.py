"""The discovery child: imports the user's modules, writes the graph to a JSON file, and ends.

Runs under the services' own interpreter so that daemon and keeper never import user code. Standard library only.

The report: `{"entry", "services": {NAME: {...}}, "unresolved": {TARGET: reason}, "error"}`. `unresolved` are targets
given as text whose modules are not installed for this interpreter; another one may read them. `error` is null or
`{"kind": "import" | "graph" | "environment", "message", "traceback"}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.app.declare import apis_of
from svcd.app.graph import Edge, Graph, GraphError, Node, build
from svcd.app.load import LoadError

if TYPE_CHECKING:
    from svcd.values.boot import DiscoverBoot

_PLAIN = (bool, int, float, str, type(None))


def main(boot: DiscoverBoot) -> int:
    """Read the graph, write the report, return the exit status: 0 when there is a graph."""
    report: dict[str, Any] = {"entry": None, "services": {}, "unresolved": {}, "error": None}
    try:
        report |= describe(build(boot.targets, asked_by=boot.asked_by), Path(boot.root))
    except LoadError as error:
        report["error"] = {"kind": error.kind, "message": str(error), "traceback": error.traceback or None}
    write(Path(boot.report), report)
    return 0 if report["error"] is None else 1


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report so that a reader finds all of it or none."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(report), encoding="utf-8")
    draft.replace(path)


def describe(graph: Graph, root: Path) -> dict[str, Any]:
    """Return the report's part that tells of a graph. root: the app's folder."""
    return {
        "entry": graph.entries[0].name if graph.entries else None,
        "services": {name: _service(node, root) for name, node in graph.nodes.items()},
        "unresolved": {target: str(error) for target, error in graph.unresolved.items()},
    }


def _service(node: Node, root: Path) -> dict[str, Any]:
    declaration = node.declaration
    config = dict(declaration.config)
    _check_json(config, f"{declaration.place}: {node.name}: ", "")
    return {
        "name": node.name,
        "target": node.target,
        "file": declaration.file,
        "line": declaration.line,
        "config": config,
        "version": config.get("version") or _version(node, root),
        "apis": [
            {
                "name": api.name,
                "is_async": api.is_async,
                "is_stream": api.is_stream,
                "idempotent": api.idempotent,
                "max_batch_size": api.batching.max_batch_size if api.batching else 0,
                "is_task": api.task is not None,
            }
            for api in apis_of(node.cls).values()
        ],
        "dependencies": [
            {
                "name": name,
                **_callee(edge),
                "timeout": edge.dependency.timeout,
                "retries": edge.dependency.retries,
                "optional": edge.dependency.optional,
                "fallback": _callee(edge.fallback) if edge.fallback else None,
            }
            for name, edge in node.edges.items()
        ]
        + [
            {"name": name, "service": url.service, "target": url.service, "optional": url.optional}
            for name, url in node.urls.items()
        ],
    }


def _callee(edge: Edge) -> dict[str, Any]:
    """Name the callee; one that cannot be imported here has no name yet."""
    return {
        "service": edge.node.name if edge.node else None,
        "target": edge.node.target if edge.node else edge.dependency.target_text,
    }


def _version(node: Node, root: Path) -> str:
    """Return the fingerprint of the service's code, or nothing where it has no source file."""
    from svcd.app.sources import fingerprint  # noqa: PLC0415  (a service with a label needs none)

    file = getattr(sys.modules.get(node.cls.__module__), "__file__", None)
    return fingerprint(Path(file), root) if file else ""


def _check_json(value: object, place: str, path: str) -> None:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise GraphError(f"{place}{path or 'options'}: the key {key!r} is no string")
            _check_json(item, place, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, place, f"{path}[{index}]")
    else:
        raise GraphError(
            f"{place}{path}: {value!r} ({type(value).__name__}) is no plain value; write a string or a number"
        )
