"""The processes that the keeper runs for this daemon: orders out, events to whoever ordered."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from svcd.host.keeper_link import KeeperGone
from svcd.values.errors import ListenError
from svcd.values.orders import (
    Event,
    Exited,
    Gone,
    Kill,
    Listen,
    ListenFailed,
    Listening,
    News,
    Order,
    Shutdown,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Processes:
    """Every process of the app, by the id it was ordered under."""

    def __init__(self, send: Callable[[Order], None]) -> None:
        self._give = send
        self._listeners: dict[str, Callable[[Event], None]] = {}
        self._answers: dict[str, trio.MemorySendChannel[Listening | ListenFailed]] = {}

    def __repr__(self) -> str:
        """How many are known."""
        return f"<Processes {len(self._listeners)} known>"

    def dispatch(self, event: News) -> None:
        """Hand an event of the keeper to whoever ordered the process."""
        if isinstance(event, (Listening, ListenFailed)):
            self._answers.pop(event.name).send_nowait(event)
            return
        listener = self._listeners.get(event.id)
        if isinstance(event, (Gone, SpawnFailed)):
            self._listeners.pop(event.id, None)
        if listener is not None:
            listener(event)

    def spawn(self, order: Spawn, listener: Callable[[Event], None]) -> None:
        """Order a process; `listener` hears Spawned or SpawnFailed, then Exited and Gone."""
        self._listeners[order.id] = listener
        self._send(order)

    def adopt(self, process_id: str, listener: Callable[[Event], None]) -> None:
        """Have a process that runs already heard as if it had been ordered."""
        self._listeners[process_id] = listener

    def signal(self, process_id: str, signum: int) -> None:
        """Signal the main process, if it lives."""
        self._send(Signal(process_id, signum))

    def kill(self, process_id: str) -> None:
        """SIGKILL everything it started."""
        self._send(Kill(process_id))

    def send(self, order: Order) -> None:
        """Give an order that nothing answers."""
        self._send(order)

    def shutdown(self) -> None:
        """Let the keeper end whatever is left, and itself."""
        self._send(Shutdown())

    def _send(self, order: Order) -> None:
        # Whoever hears the keeper ends the daemon with it; nobody who gives an order has anything to add.
        with suppress(KeeperGone):
            self._give(order)

    async def listen(self, name: str, host: str, port: int) -> tuple[str, int]:
        """Have the keeper bind and hold a TCP socket; return the address bound. Raises ListenError."""
        self._answers[name], answers = trio.open_memory_channel[Listening | ListenFailed](1)
        self._send(Listen(name, host, port))
        answer = await answers.receive()
        if isinstance(answer, ListenFailed):
            raise ListenError(answer.message)
        return answer.host, answer.port

    async def run_to_end(self, order: Spawn) -> Exited | SpawnFailed:
        """Run a short-lived process; return how it ended once nothing of it is left. Cancelling kills it."""
        done, seen = trio.Event(), list[Exited | SpawnFailed]()

        def listener(event: Event) -> None:
            if isinstance(event, (Exited, SpawnFailed)):
                seen.append(event)
            if not isinstance(event, (Spawned, Exited)):
                done.set()

        self.spawn(order, listener)
        try:
            await done.wait()
        except trio.Cancelled:
            self.kill(order.id)
            raise
        return seen[0]
