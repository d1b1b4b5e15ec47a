"""Several ingress processes at one address: the death of one cuts its own connections, and nobody else's."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import RunningApp

SERVICE = """
    import svcd


    @svcd.service
    class Echo:
        @svcd.api
        async def echo(self, text: str) -> str:
            return text
"""
TOML = """
    [app.ingress]
    replicas = 2
"""
CONNECTIONS = 24


def ask(connection: http.client.HTTPConnection) -> bytes:
    connection.request("POST", "/echo", b'{"text": "abc"}', {"Content-Type": "application/json"})
    return connection.getresponse().read()


def is_served(connection: http.client.HTTPConnection) -> bool:
    """Tell whether a connection that has been used answers again."""
    connection.auto_open = 0
    try:
        return ask(connection) == b"abc"
    except (OSError, http.client.HTTPException):
        return False


def test_the_death_of_one_of_two(make_app: Callable[..., RunningApp]) -> None:
    app = make_app(SERVICE, TOML, entry="Echo")
    with app.up(), contextlib.ExitStack() as stack:
        rows = wait_until(lambda: both_ready(app), "both to be ready")
        address = urlsplit(app.url)

        def connect() -> http.client.HTTPConnection:
            return http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)

        # Which process takes a connection is the kernel's choice: both have some once one dies and some are left.
        kept = [stack.enter_context(contextlib.closing(connect())) for _ in range(CONNECTIONS)]
        for connection in kept:
            assert ask(connection) == b"abc"
        its_own = {peer.raddr.port for peer in psutil.Process(rows[0]["pid"]).net_connections("tcp") if peer.raddr}
        belong = {connection: connection.sock.getsockname()[1] in its_own for connection in kept}
        os.kill(rows[0]["pid"], signal.SIGKILL)
        for _ in range(CONNECTIONS):
            with contextlib.closing(connect()) as fresh:
                assert ask(fresh) == b"abc"
        for connection in kept:
            assert is_served(connection) != belong[connection]
        wait_until(lambda: is_back(app.row("ingress", 0)), "the dead one to be replaced")
        assert app.row("ingress", 1)["restarts"] == 0
        assert app.row("ingress", 1)["pid"] == rows[1]["pid"]


def is_back(row: dict[str, Any]) -> bool:
    return (row["state"], row["restarts"]) == ("ready", 1)


def both_ready(app: RunningApp) -> list[dict[str, Any]]:
    """Return the rows of the two, once they are ready."""
    rows = [row for row in app.rows() if row["service"] == "ingress"]
    assert [row["replica"] for row in rows] == [0, 1]
    return rows if all(row["state"] == "ready" for row in rows) else []
