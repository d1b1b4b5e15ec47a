"""Any two of daemon, guard and keeper are killed at once, whatever they were doing: the third leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import trio
from kept_app import HERE, until

from leftovers import PROMISE, VARIABLE, assert_none_left
from svcd.host.keeper_link import KeeperGone
from svcd.values.orders import Kill, Shutdown, Signal, Spawned

if TYPE_CHECKING:
    from kept_app import KeptApp

VICTIMS = [
    ("daemon",),
    ("guard",),
    ("keeper",),
    ("daemon", "guard"),
    ("daemon", "keeper"),
    ("guard", "keeper"),
]


async def zoo(app: KeptApp) -> None:
    """Fill the app with what is hardest to find: other sessions, other parents, empty environments, stopped, deaf."""
    notes = []
    for number, animal in enumerate(
        ("daemonizes_and_stays", "scrubs_and_stays", "ignores_term", "stops_itself", "forks_many")
    ):
        notes.append(app.spawn_from_zoo(f"Zoo/{number}#1", animal))
        await app.expect(Spawned)
    for note in notes:
        await until(note.exists)
    app.remember()


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
async def test_nothing_is_left_of_a_running_app(app: KeptApp, victims: tuple[str, ...]) -> None:
    await zoo(app)
    await app.kill(*victims)
    assert_none_left(app.mark, app.known)


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
async def test_nothing_is_left_of_an_app_that_is_starting(app: KeptApp, victims: tuple[str, ...]) -> None:
    for number in range(20):
        app.spawn(f"Starting/{number}#1", [sys.executable, "-S", "-E", str(HERE / "zoo.py"), "ignores_term"])
    await app.expect(Spawned)  # the others are between fork and exec, or orders on their way
    await app.kill(*victims)
    assert_none_left(app.mark)


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
async def test_nothing_is_left_of_an_app_that_is_stopping(app: KeptApp, victims: tuple[str, ...]) -> None:
    await zoo(app)
    for number in range(5):
        app.send(Signal(f"Zoo/{number}#1", signal.SIGTERM))
    app.send(Kill("Zoo/0#1"))
    app.send(Shutdown())
    await app.kill(*victims)
    assert_none_left(app.mark, app.known)


async def test_a_wedged_keeper_is_ended_by_the_guard_when_the_daemon_dies(app: KeptApp) -> None:
    await zoo(app)
    os.kill(app.keeper, signal.SIGSTOP)
    await app.kill("daemon")
    assert_none_left(app.mark, app.known)


async def test_a_wedged_guard_does_not_keep_the_keeper_from_its_work(app: KeptApp) -> None:
    await zoo(app)
    os.kill(app.guard, signal.SIGSTOP)
    guard = app.guard
    await app.kill("daemon")
    app_processes = app.known - {entry for entry in app.known if entry[0] == guard}
    try:
        assert_none_left({VARIABLE: "none"}, app_processes)
    finally:
        os.kill(guard, signal.SIGKILL)


async def test_the_daemon_hears_of_the_keepers_death(app: KeptApp) -> None:
    await app.spawned("Sleep/0#1", ["sleep", "1000"])
    await app.kill("keeper")
    with trio.fail_after(PROMISE):
        assert [event async for event in app.link.events] == []
        await app.link.closed.wait()
    with pytest.raises(KeeperGone):
        app.link.send(Shutdown())
    assert await app.driver_ended() == 1
    assert "closed" in repr(app.link)


async def test_the_daemon_closing_the_link_ends_all(app: KeptApp) -> None:
    await zoo(app)
    os.kill(app.driver.pid, signal.SIGTERM)
    await until(lambda: app.driver.poll() is not None)
    assert_none_left(app.mark, app.known)
