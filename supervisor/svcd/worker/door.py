"""Who may call this replica: those whom the daemon has told of it.

A socket's permissions can't say that where services run under other users than svcd, so its secret does: the daemon
gives it to the replica, and with the address to each process that depends on it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd_ipc.messages import Hello

SOCKET_MODE = 0o666
"""Any user may connect, and gets no further than hello; what is above the socket keeps out all but those of the app."""


def door(secret: str) -> Callable[[Hello], None]:
    """Return the `welcome` of a channel that takes those who say the secret. "" takes everybody."""

    def welcome(hello: Hello) -> None:
        said = hello.identity.get("secret")
        if secret and not hmac.compare_digest(secret.encode(), str(said).encode()):
            raise ValueError("the hello lacks this replica's secret, which svcd tells only those that depend on it")

    return welcome
