"""A thousand replicas, nearly all of which wait: what one change costs does not grow with how many others there are.

Counted is the work, not the time: how often the state of any replica is read, and how often resources are sought.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from typing import TYPE_CHECKING

import trio
from test_app import Scene, running, service

from svcd.host.log_files import LogFile
from svcd.policy.lifecycle import Happening, State
from svcd.policy.placement import place
from svcd.runtime.bus import Bus
from svcd.runtime.journal import Journal
from svcd.runtime.replica import Replica
from svcd.runtime.summary import summary
from svcd.runtime.voice import Voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from typing import Any

    import pytest
    from trio.testing import MockClock

    from svcd.values.events import Change

FEW, MANY = 50, 500
DATAGRAM = 4096
"""Bytes of the longest message that systemd takes."""


class Silent:
    """A reporter at whom nobody looks."""

    def change(self, change: Change) -> None:
        """Write nothing."""


class Work:
    """Counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._done: Counter[str] = Counter()

        def state(replica: Replica) -> State:
            self._done["looks"] += 1
            found: State = replica.__dict__["state"]
            return found

        def enter(replica: Replica, state: State) -> None:
            replica.__dict__["state"] = state

        def seek(*args: Any) -> Any:
            self._done["searches"] += 1
            return place(*args)

        monkeypatch.setattr(Replica, "state", property(state, enter), raising=False)
        monkeypatch.setattr("svcd.runtime.ledger.place", seek)

    def take(self) -> tuple[int, int]:
        """Return the looks and the searches since the last time."""
        done, self._done = self._done, Counter()
        return done["looks"], done["searches"]


@contextlib.contextmanager
def manager() -> Iterator[tuple[socket.socket, str]]:
    """Listen as systemd does."""
    name = f"svcd-many-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.setblocking(False)
        yield listener, f"@{name}"


def heard(listener: socket.socket) -> list[str]:
    """Return all that has been said."""
    said = []
    with contextlib.suppress(BlockingIOError):
        while True:
            said.append(listener.recv(1 << 20).decode())
    return said


@contextlib.asynccontextmanager
async def crowd(tmp_path: Path, address: str = "") -> AsyncIterator[Scene]:
    """Run an app on two GPUs that speaks to a service manager, each replica of Base wanting one."""
    scene = Scene(service("Top", "Base"), service("Base", gpu=1), gpus=2)
    journal = Journal(LogFile(""), LogFile(""), Bus())
    environ = {"NOTIFY_SOCKET": address}
    voice = Voice(journal, Silent(), environ)  # type: ignore[arg-type]  # only changes are told here
    voice.summary = lambda: summary(scene.app, "http://127.0.0.1:3000")
    scene.app._tell = voice.change
    async with running(scene, tmp_path), trio.open_nursery() as nursery:
        nursery.start_soon(voice.run)
        await trio.sleep(1)
        yield scene
        nursery.cancel_scope.cancel()


async def scaled(scene: Scene, replicas: int) -> None:
    scene.app.scale("Base", replicas)
    await trio.sleep(1)


async def test_a_change_among_many_costs_what_one_among_few_does(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    costs = []
    async with crowd(tmp_path) as scene:
        for replicas in (FEW, MANY):
            work.take()
            await scaled(scene, replicas)
            up, searches = work.take()
            assert searches == replicas - 1
            await scaled(scene, 1)
            down, _ = work.take()
            costs.append((up / replicas, down / replicas))
    (up_few, down_few), (up_many, down_many) = costs
    assert up_many < 2 * up_few  # a look at all in one turn of the loop more or less
    assert down_many < 2 * down_few


async def test_what_is_released_is_sought_once_for_all_who_ask_for_the_same(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    async with crowd(tmp_path) as scene:
        await scaled(scene, MANY)
        assert [replica.index for replica in scene.app.services["Base"].replicas if replica.assignment] == [0, 1]
        work.take()
        scene.keeper.end("Base/1#1", 1)  # it comes back to what it holds
        await trio.sleep(5)
        _, searches = work.take()
        assert searches == 0
        await scene.say("Base/1", Happening.STOP)
        _, searches = work.take()
        assert searches == 2  # the first in line gets it, the next does not, and nobody is asked after that
        assert scene.replica("Base/2").state is State.STARTING
        assert scene.replica("Base/3").reason == "needs 1 GPU; 0 of 2 free, 2 held by other replicas"


async def test_a_service_manager_hears_once_of_all_that_changes_at_a_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with manager() as (listener, address):
        async with crowd(tmp_path, address) as scene:
            heard(listener)
            await scaled(scene, MANY)
            said = heard(listener)
        assert len(said) <= 2, said  # Base/1 may get its GPU after the first
        status = said[-1]
        assert status.startswith(f"STATUS=starting, 0 of {MANY + 1} replicas ready; Base/2 pending: needs 1 GPU; ")
        assert status.endswith(f"; {MANY - 2 - 4} more\n")
        assert len(status) < DATAGRAM
