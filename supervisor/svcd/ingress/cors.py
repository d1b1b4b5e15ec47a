"""Pages of other origins: what a browser is told of them. Pure.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol. Browsers enforce it; every request is served all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svcd.values.specs import Cors

Lines = tuple[tuple[bytes, bytes], ...]

_ASKED = b"origin, access-control-request-method, access-control-request-headers"


class CorsPolicy:
    """The configured answer to requests that carry an `Origin`. Without origins there is none, and no header either."""

    def __init__(self, cors: Cors) -> None:
        self._cors = cors
        self._origins = frozenset(origin.encode() for origin in cors.origins)

    def __repr__(self) -> str:
        return f"<CorsPolicy {', '.join(self._cors.origins) or 'no other origins'}>"

    def __bool__(self) -> bool:
        return bool(self._origins)

    def headers(self, origin: bytes) -> Lines:
        """Return the headers of an answer to a request of this origin (empty: of none)."""
        if not self._origins:
            return ()
        # A cache must not give the answer for one origin to another.
        lines: Lines = () if b"*" in self._origins else ((b"vary", b"origin"),)
        if not origin or not self._allowed(origin):
            return lines
        lines += self._allow(origin)
        if self._cors.expose:
            lines += ((b"access-control-expose-headers", ", ".join(self._cors.expose).encode()),)
        return lines

    def preflight(self, origin: bytes, asked_headers: bytes) -> Lines:
        """Return the headers of the answer to a preflight; for an origin that is not allowed they allow nothing."""
        lines: Lines = ((b"vary", _ASKED),)
        if not self._allowed(origin):
            return lines
        headers = asked_headers if "*" in self._cors.headers else ", ".join(self._cors.headers).encode()
        lines += (
            *self._allow(origin),
            (b"access-control-allow-methods", ", ".join(self._cors.methods).encode()),
            (b"access-control-max-age", b"%d" % self._cors.max_age),
        )
        return (*lines, (b"access-control-allow-headers", headers)) if headers else lines

    def _allowed(self, origin: bytes) -> bool:
        return b"*" in self._origins or origin in self._origins

    def _allow(self, origin: bytes) -> Lines:
        if self._cors.credentials:
            return ((b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"))
        return ((b"access-control-allow-origin", b"*" if b"*" in self._origins else origin),)
