"""What can be read with GET: is the process alive, can the app answer, and what does it offer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svcd.ingress.entry import Entry

PAGES = frozenset(("/", "/livez", "/readyz", "/healthz", "/schema.json"))

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """A small whole response."""

    status: int
    content_type: str
    body: bytes


async def read_page(path: str, entry: Entry) -> Page:
    """Return one of PAGES. Raises CallError where the entry has to be asked and cannot answer."""
    if path == "/livez":
        return Page(200, _TEXT, b"alive\n")
    if path == "/readyz":
        return _readiness(entry)
    if path == "/healthz":
        return _health(entry)
    if path == "/schema.json":
        return Page(200, _JSON, _json({"service": entry.name, "apis": await entry.apis(entry.deadline())}))
    return await _index(entry)


def _readiness(entry: Entry) -> Page:
    status = entry.status()
    return Page(200, _TEXT, b"ready\n") if status.ready else Page(503, _TEXT, f"{status.reason}\n".encode())


def _health(entry: Entry) -> Page:
    status = entry.status()
    health = {
        "live": True,
        "ready": status.ready,
        "reason": status.reason,
        "entry": entry.name,
        "replicas": status.replicas,
    }
    return Page(200 if status.ready else 503, _JSON, _json(health))


async def _index(entry: Entry) -> Page:
    status = entry.status()
    if not status.ready:
        return Page(200, _TEXT, f"{entry.name} is not ready: {status.reason}\n".encode())
    lines = [f"{entry.name}, served by svcd. Call an api with POST; /schema.json has the types.", ""]
    for name, api in sorted((await entry.apis(entry.deadline())).items()):
        first_line = (api.get("doc") or "").strip().partition("\n")[0]
        lines.append(f"    POST /{name}    {first_line}".rstrip())
    return Page(200, _TEXT, ("\n".join(lines) + "\n").encode())


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
