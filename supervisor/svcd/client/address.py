"""Where a running app answers: a URL, a Unix socket, or the app's name."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from svcd.values.places import places


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach the ingress."""

    host: str = "localhost"
    port: int = 80
    is_tls: bool = False
    prefix: str = ""
    """What stands before the name of an api, behind a proxy, say; without a slash at its end."""
    socket: str | None = None
    """Path of the Unix socket to connect to in place of host and port."""

    def __str__(self) -> str:
        if self.socket:
            return f"unix:{self.socket}"
        return f"{'https' if self.is_tls else 'http'}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


def address_of(text: str) -> Address:
    """Read an address.

    `http://127.0.0.1:3000`, `https://...`; `unix:/run/svcd/app/http.sock`, or the folder of that; or the name of an app
    of this user, whose runtime directory is found as `svcd` itself finds it. Raises ValueError.
    """
    if text.startswith(("http://", "https://")):
        return _of_url(text)
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: write it as unix:/path/of/http.sock")
        return Address(socket=path if path.endswith(".sock") else posixpath.join(path, "http.sock"))
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", text):
        return Address(socket=places(text, os.environ, os.getuid()).http)
    raise ValueError(f"{text!r}: give a URL (http://127.0.0.1:3000), unix:/path/of/http.sock, or the name of an app")


def _of_url(text: str) -> Address:
    parts = urlsplit(text)
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r}: write it as http://127.0.0.1:3000")
    is_tls = parts.scheme == "https"
    return Address(parts.hostname, parts.port or (443 if is_tls else 80), is_tls, parts.path.rstrip("/"))
