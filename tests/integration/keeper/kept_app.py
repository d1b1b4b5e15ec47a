"""What a test does with a real keeper, below a driver process that plays the daemon and can be killed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from leftovers import snapshot
from svcd.host.keeper_link import KeeperGone, KeeperLink
from svcd.host.logs import tail
from svcd.host.processes import children, read_stat
from svcd.values.orders import Event, Exited, Gone, Order, Shutdown, Spawn, Spawned

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

HERE = Path(__file__).parent
PATIENCE = 20
"""Seconds before a wait fails the test: far more than anything takes on a busy machine."""
E_ = TypeVar("E_", bound=Event)


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until the condition gives something true, and return that."""
    with trio.fail_after(PATIENCE):
        while not (value := condition()):  # noqa: ASYNC110 - what is waited for happens in other processes
            await trio.sleep(0.002)
        return value


class KeptApp:
    """A keeper, the driver above it, and what a test does with them."""

    def __init__(self, driver: subprocess.Popen[bytes], link: KeeperLink, folder: Path, mark: dict[str, str]) -> None:
        self.driver = driver
        self.link = link
        self.folder = folder
        self.mark = mark
        self.known: set[tuple[int, int]] = set()

    @property
    def guard(self) -> int:
        (guard,) = children(self.driver.pid)
        return guard

    @property
    def keeper(self) -> int:
        (keeper,) = children(self.guard)
        return keeper

    def send(self, order: Order) -> None:
        self.link.send(order)

    def spawn(
        self, name: str, argv: list[str], *, stdin: bytes = b"", sockets: tuple[str, ...] = (), **more: Any
    ) -> None:
        env = {"PATH": os.environ["PATH"], "SVCD_REPLICA": name, **self.mark}
        fields = {"env": env, "cwd": str(self.folder), "log": self.log(name), **more}
        self.send(Spawn(id=name, argv=argv, stdin=stdin, sockets=list(sockets), **fields))

    def spawn_from_zoo(self, name: str, animal: str, **more: Any) -> Path:
        """Spawn an ill-behaved child; return the path of the note that it leaves."""
        note = self.folder / f"{animal}.note"
        self.spawn(name, [sys.executable, "-S", "-E", str(HERE / "zoo.py"), animal, str(note)], **more)
        return note

    def log(self, name: str) -> str:
        return str(self.folder / "logs" / f"{name.replace('/', '.').partition('#')[0]}.log")

    def lines(self, name: str, count: int = 100_000) -> list[str]:
        return [line.text for line in tail(self.log(name), count)]

    def log_file(self, name: str) -> Path:
        return Path(self.log(name))

    async def event(self) -> Event:
        with trio.fail_after(PATIENCE):
            return await self.link.events.receive()

    async def expect(self, kind: type[E_]) -> E_:
        """Receive the next event, which is one of this kind."""
        event = await self.event()
        assert isinstance(event, kind), event
        return event

    async def spawned(self, name: str, argv: list[str], **more: Any) -> int:
        """Spawn, and return the pid."""
        self.spawn(name, argv, **more)
        return (await self.expect(Spawned)).pid

    async def ended(self, name: str) -> Exited:
        """Wait until the id is gone; return how it ended."""
        exited = await self.expect(Exited)
        assert exited.id == name
        assert await self.expect(Gone) == Gone(name)
        return exited

    def remember(self) -> None:
        """Note every process that there is now, so that the end of the test checks each."""
        self.known |= snapshot(self.driver.pid)

    async def close(self) -> int:
        """End the keeper in order if it lives; return the driver's exit code."""
        self.remember()
        with suppress(KeeperGone):
            self.send(Shutdown())
        return await self.driver_ended()

    async def driver_ended(self) -> int:
        await until(lambda: self.driver.poll() is not None)
        return self.driver.returncode

    async def kill(self, *names: str) -> None:
        """SIGKILL the driver, the guard or the keeper, together."""
        pids = {"daemon": self.driver.pid, "guard": self.guard, "keeper": self.keeper}
        for name in names:
            os.kill(pids[name], signal.SIGKILL)


def state_of(pid: int) -> str:
    """The state letter of a process, "" when it is no more."""
    stat = read_stat(pid)
    return stat.state if stat else ""
