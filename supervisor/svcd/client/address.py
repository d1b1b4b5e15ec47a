"""Where a running app answers: a URL, a Unix socket, or the app's name."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass

from svcd.values.places import places

_LOCAL = re.compile(r"https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|\Z)")


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach the ingress."""

    url: str
    """Base URL without a slash at the end."""
    socket: str | None = None
    """Path of the Unix socket to speak it over."""

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, which no proxy leads to."""
        return self.socket is not None or _LOCAL.match(self.url) is not None

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url


def address_of(text: str) -> Address:
    """Read an address.

    `http://127.0.0.1:3000`, `https://...`; `unix:/run/svcd/app/http.sock`, or the folder of that; or the name of an app
    of this user, whose runtime directory is found as `svcd` itself finds it. Raises ValueError.
    """
    if text.startswith(("http://", "https://")):
        return Address(text.rstrip("/"))
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: write it as unix:/path/of/http.sock")
        return Address("http://localhost", path if path.endswith(".sock") else posixpath.join(path, "http.sock"))
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", text):
        return Address("http://localhost", places(text, os.environ, os.getuid()).http)
    raise ValueError(f"{text!r}: give a URL (http://127.0.0.1:3000), unix:/path/of/http.sock, or the name of an app")
