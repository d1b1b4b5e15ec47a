"""Paths that the ingress answers itself."""

from __future__ import annotations

PAGES = frozenset(("/", "/livez", "/readyz", "/healthz", "/metrics", "/schema.json", "/docs.json"))
"""Pages; no application can be mounted there, but at `/` for all that nothing else has."""
