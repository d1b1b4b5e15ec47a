"""What can be read with GET: is the process alive, can the app answer, and what does it offer."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.ingress.openapi import openapi
from svcd.values.media import HTML, JSON, TEXT, UTF8, Accept

if TYPE_CHECKING:
    from svcd.ingress.entry import Entry

PAGES = frozenset(("/", "/livez", "/readyz", "/healthz", "/schema.json", "/docs.json"))

_TEXT = TEXT + UTF8
_VARY = ((b"vary", b"accept"),)


@dataclass(frozen=True, slots=True)
class Page:
    """A small whole response."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


async def read_page(path: str, entry: Entry, *, accept: str = "", version: str = "") -> Page:
    """Return one of PAGES. Raises CallError where the entry has to be asked and cannot answer."""
    if path == "/livez":
        return Page(200, _TEXT, b"alive\n")
    if path == "/readyz":
        return _readiness(entry)
    if path == "/healthz":
        return _health(entry)
    if path == "/":
        return _docs_page() if Accept(accept).best((TEXT, HTML)) == HTML else await _index(entry)
    surface = await entry.surface(entry.deadline())
    if path == "/schema.json":
        return Page(200, JSON, _json({"service": entry.name, "apis": surface.apis, "mounts": surface.mounts}))
    return Page(200, JSON, _json(openapi(entry.name, version, surface.apis, surface.mounts)))


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
    return Page(200 if status.ready else 503, JSON, _json(health))


async def _index(entry: Entry) -> Page:
    status = entry.status()
    if not status.ready:
        return Page(200, _TEXT, f"{entry.name} is not ready: {status.reason}\n".encode(), _VARY)
    surface = await entry.surface(entry.deadline())
    lines = [f"{entry.name}, served by svcd. Call an api with POST; /docs.json has the types.", ""]
    for name, api in sorted(surface.apis.items()):
        first_line = (api.get("doc") or "").strip().partition("\n")[0]
        lines.append(f"    POST /{name}    {first_line}".rstrip())
        if api.get("task"):
            lines.append(f"    POST /{name}/submit    to have it run in the background")
    lines += [f"    {mount or ''}/    an application" for mount in reversed(surface.mounts)]
    return Page(200, _TEXT, ("\n".join(lines) + "\n").encode(), _VARY)


@cache
def _docs_page() -> Page:
    """Return the page for browsers: one file, which reads /docs.json and asks no other host for anything."""
    page = Path(__file__).with_name("docs.html").read_text("utf-8")
    inline = {kind: _hash_of(page, kind) for kind in ("script", "style")}
    policy = (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; media-src blob:; base-uri 'none';"
        f" form-action 'none'; frame-ancestors 'none'; script-src {inline['script']}; style-src {inline['style']}"
    )
    headers = (*_VARY, (b"content-security-policy", policy.encode()), (b"x-content-type-options", b"nosniff"))
    return Page(200, HTML + UTF8, page.encode(), headers)


def _hash_of(page: str, element: str) -> str:
    """Name the page's one script or style, so that a browser runs this one and no other (CSP level 2)."""
    content = page.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
