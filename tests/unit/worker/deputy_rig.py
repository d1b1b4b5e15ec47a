"""A service behind a channel in this process's loop, and peers that are threads: each speaks the protocol alone."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
import trio.testing

import svcd
from svcd.worker.lobby import Lobby
from svcd.worker.portal import CallCancelled, Portal
from svcd.worker.serve import LiveService
from svcd.worker.thread import Job, ServiceThreads
from svcd_ipc.channel import Channel
from svcd_ipc.connection import Connection
from svcd_ipc.messages import Error, Hello, Refused, Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMIT = 20.0


@svcd.service
class Blocks:
    """Apis that block, and some that do not."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.seen: list[str] = []
        self.taken: Callable[[], np.ndarray | None] = lambda: None
        """The array that `first` was given last, while there is one."""

    @svcd.api
    def double(self, x: int) -> int:
        return 2 * x

    @svcd.api
    def stood_in(self) -> bool:
        """Whether the thread that runs this waits for the connection itself."""
        frame = sys._getframe()
        while frame.f_back is not None and frame.f_code.co_name != "_work":
            frame = frame.f_back
        return not isinstance(frame.f_locals["job"], Job)

    @svcd.api
    def hold(self) -> str:
        self.begun.set()
        self.gate.wait(LIMIT)
        return "held"

    @svcd.api
    def hold_and_call(self) -> str:
        self.begun.set()
        self.gate.wait(LIMIT)
        try:
            self.back(1)
        except CallCancelled:
            self.seen.append("cancelled")
            raise
        return "not cancelled"

    @svcd.api
    def fail(self) -> int:
        raise KeyError("x")

    @svcd.api
    def leave(self) -> int:
        sys.exit(3)

    @svcd.api
    def cancelled(self) -> int:
        raise asyncio.CancelledError

    @svcd.api
    def first(self, a: np.ndarray) -> float:
        self.taken = weakref.ref(a)
        return float(a[0])

    @svcd.api
    def wrong(self) -> int:
        return "no number"  # type: ignore[return-value]  # that is the point

    @svcd.api
    def run_in_trio(self) -> bool:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return trio.run(trio.sleep, 0) is not None
        return True

    @svcd.api
    def large(self) -> np.ndarray:
        return np.ones(2_000_000)

    @svcd.api
    def back(self, x: int) -> int:
        portal = Portal.current()
        assert portal is not None

        async def add() -> int:
            await trio.lowlevel.checkpoint()
            return x + 1

        return portal.run(add)

    @svcd.api
    def sleep(self, lasting: float) -> float:
        time.sleep(lasting)
        return lasting

    @svcd.api
    async def quick(self, x: int) -> int:
        return x + 1

    @svcd.api
    async def slow(self, x: int) -> int:
        await trio.sleep(0.002)
        return x + 1


class Peer:
    """Speaks to the service from a thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._connection = Connection()
        self._answers: dict[int, Any] = {}
        sock.settimeout(LIMIT)
        self._send(self._connection.send_hello({"service": "Peer"}))
        while not isinstance(self._receive(), Hello):
            pass

    def ask(self, api: str, seconds: float | None = None, **args: Any) -> int:
        """Make a call with so many seconds until its deadline, and return its number."""
        deadline = None if seconds is None else time.monotonic() + seconds
        number, chunks = self._connection.send_call(api, args, deadline)
        self._send(chunks)
        return number

    def answer(self, number: int) -> Any:
        """Return the value of a call, or its code where it failed."""
        while number not in self._answers:
            event = self._receive()
            if isinstance(event, Result):
                self._answers[event.id] = event.value
            elif isinstance(event, Error):
                self._answers[event.id] = event.code
            elif isinstance(event, Refused):
                self._answers[event.id] = "busy"
        return self._answers.pop(number)

    def call(self, api: str, seconds: float | None = None, **args: Any) -> Any:
        return self.answer(self.ask(api, seconds, **args))

    def cancel(self, number: int) -> None:
        self._send(self._connection.send_cancel(number))

    def babble(self) -> bytes:
        """Return many messages that want no answer: 64 KiB and more."""
        cancel = b"".join(self._connection.send_cancel(self.ask("double", x=1)))
        return cancel * (1 + (1 << 16) // len(cancel))

    def say(self, data: bytes) -> None:
        self._send([data])

    def close(self) -> None:
        self._sock.close()

    def warm_up(self) -> None:
        """Make calls until a thread stands in."""
        for _ in range(1000):
            if self.call("stood_in"):
                return
        raise AssertionError("nobody stands in")

    def _receive(self) -> Any:
        while (event := self._connection.next_event()) is None:
            data = self._sock.recv(1 << 20)
            if not data:
                raise EOFError
            self._connection.receive_data(data)
        return event

    def _send(self, chunks: Any) -> None:
        self._sock.sendall(b"".join(chunks))


class Passes(trio.abc.Instrument):
    """Counts how often the loop turns."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        del timeout
        self.count += 1


class Rig:
    """The service, and threads that talk to it."""

    def __init__(self, nursery: trio.Nursery, count: int) -> None:
        self.nursery = nursery
        self.threads = ServiceThreads("Blocks", Portal(nursery), count)
        self.threads.start()
        self.live = LiveService("Blocks", self.threads, max_concurrency=64)
        self.blocks = Blocks()
        self.live.attach(self.blocks)
        self.live.warm()
        self.passes = Passes()
        self.channels: list[Channel] = []
        self.held: list[bool] = []
        """Of each answer whether an argument of its call was still held when it was made."""

    async def connected(self, script: Callable[[Peer], Any]) -> Any:
        """Run a peer's script in a thread of its own, and return what it returns."""
        mine, its = socket.socketpair()
        lobby = Lobby(self.live)
        channel = Channel(
            mine,
            identity={},
            handler=lobby.handle,
            direct=lobby,
            admit=lobby.admit,
            release=lobby.release,
            load=self._load,
            speaks_first=False,
        )
        self.channels.append(channel)
        self.nursery.start_soon(channel.run)
        with its:
            return await trio.to_thread.run_sync(lambda: script(Peer(its)))

    def _load(self) -> tuple[int, int]:
        self.held.append(self.blocks.taken() is not None)
        return self.live.load()

    async def until_nothing_runs(self) -> None:
        while self.live.taken or self.threads.pending:  # noqa: ASYNC110 - a thread ends, which tells nobody
            await trio.sleep(0.001)


@asynccontextmanager
async def opened(count: int = 1) -> AsyncIterator[Rig]:
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            rig = Rig(nursery, count)
            trio.lowlevel.add_instrument(rig.passes)
            yield rig
            trio.lowlevel.remove_instrument(rig.passes)
            rig.blocks.gate.set()
            rig.threads.stop()
            nursery.cancel_scope.cancel()
