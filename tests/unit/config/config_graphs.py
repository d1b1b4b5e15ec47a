"""Apps for tests: discovery reports as the discovery child would write them, and specs of small files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.config import Sources, read, resolve

if TYPE_CHECKING:
    from svcd.values.specs import AppSpec, ServiceSpec

PYTHON = "/usr/bin/python3"


def graph(**services: dict[str, Any]) -> dict[str, Any]:
    """Return a report; the first service is the entry. Each is {config, line, dependencies: [service]}."""
    return {
        "entry": next(iter(services)),
        "services": {
            name: {
                "name": name,
                "target": f"service:{name}",
                "file": said.get("file", "service.py"),
                "line": said.get("line", 12),
                "config": said.get("config", {}),
                "version": "c0ffee",
                "apis": [{"name": "run", "is_async": True, "is_stream": False, "idempotent": False}],
                "dependencies": [
                    {
                        "name": callee.lower(),
                        "service": callee,
                        "target": f"service:{callee}",
                        "timeout": None,
                        "retries": 0,
                        "optional": False,
                    }
                    for callee in said.get("dependencies", ())
                ],
            }
            for name, said in services.items()
        },
        "unresolved": {},
        "error": None,
    }


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text, "utf-8")
    return path


def app_of(
    text: str = "",
    *more: str,
    app: str = "",
    decorator: dict[str, Any] | None = None,
    default_python: str = PYTHON,
    **sources: Any,
) -> AppSpec:
    """Resolve an app of one service, `Model`, from files in the current folder."""
    files = [write("svcd.toml", f'[app]\nservice = "service:Model"\n{app}\n{text}')]
    files += [write(f"more{number}.toml", part) for number, part in enumerate(more)]
    documents = read(Sources(files=files, **{"environ": {}, **sources}))
    return resolve(documents, graph(Model={"config": decorator or {}}), default_python=default_python)


def model_of(text: str = "", *more: str, **given: Any) -> ServiceSpec:
    return app_of(text, *more, **given).services["Model"]
