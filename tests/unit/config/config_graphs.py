"""Discovery reports for tests, as the discovery child would write them."""

from __future__ import annotations

from typing import Any


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
