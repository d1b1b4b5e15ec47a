"""Where operators come in: one socket, whoever answers behind it.

A daemon that takes over answers what it can from the first moment; a request that only the app itself can answer waits
for it here, and is not refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.server import serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Collection

    from svcd_ipc.channel import IncomingCall

    Answer = Callable[[IncomingCall], Awaitable[Any]]

DOWN_LIMIT = 10.0
"""Seconds for which `down` waits for the app, to stop it in order; after that all ends at once."""


class Door:
    """The control socket of one daemon."""

    def __init__(self, app: str, stop: Callable[[], None]) -> None:
        """app: its name, which is said to whoever comes. stop: ends the daemon, whatever it is at."""
        self._app = app
        self._stop = stop
        self._early: tuple[Answer, Collection[str]] | None = None
        self._answer: Answer | None = None
        self._is_open = trio.Event()

    def __repr__(self) -> str:
        """Who answers."""
        return f"<Door of {self._app}, {'open' if self._is_open.is_set() else 'not open yet'}>"

    def open_early(self, answer: Answer, requests: Collection[str]) -> None:
        """Have these requests answered from now on."""
        self._early = answer, requests

    def open(self, answer: Answer) -> None:
        """Have all requests answered from now on, those that wait among them."""
        self._answer = answer
        self._is_open.set()

    async def run(self, listener: socket.socket) -> None:
        """Let operators in until cancelled."""
        await serve(listener, self._handle, identity={"role": "daemon", "app": self._app})

    async def _handle(self, call: IncomingCall) -> Any:
        if self._answer is None and self._early is not None and call.api in self._early[1]:
            return await self._early[0](call)
        with trio.move_on_after(DOWN_LIMIT if call.api == "down" else float("inf")):
            await self._is_open.wait()
        if self._answer is None:
            self._stop()
            return None
        return await self._answer(call)
