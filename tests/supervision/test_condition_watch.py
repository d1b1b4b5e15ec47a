"""What is wrong is said once when it begins and once when it is over, also where it was noticed by an event."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from svcd.host.condition import read_condition
from svcd.host.log_files import LogFile
from svcd.runtime.bus import Bus
from svcd.runtime.condition import INTERVAL, ConditionWatch
from svcd.runtime.journal import Journal
from svcd.values.condition import Condition, Disk
from svcd.values.orders import Spawned, SpawnFailed

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

WELL = Condition(wall=1e9, awake=0.0, boot=0.0)


class Scene:
    """A watch over conditions that the test sets."""

    def __init__(self, tmp_path: Path) -> None:
        self.now = WELL
        self.told: list[str] = []
        self.events = LogFile(str(tmp_path / "events.jsonl"), stamped=False)
        journal = Journal(LogFile(str(tmp_path / "daemon.log")), self.events, Bus(), clock=lambda: 1e9)
        self.watch = ConditionWatch(lambda: self.now, journal, self.told.append)


async def test_each_trouble_is_said_once_and_so_is_its_end(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    scene = Scene(tmp_path)
    nursery.start_soon(scene.watch.run)
    await trio.sleep(INTERVAL)
    scene.now = replace(WELL, disks={"/logs": Disk(free=2**20)})
    await trio.sleep(5 * INTERVAL)
    scene.now = replace(WELL, disks={"/logs": Disk(free=2**19)})
    await trio.sleep(5 * INTERVAL)
    assert scene.told == ["trouble: the disk of /logs has 1Mi left"]
    assert [trouble["text"] for trouble in scene.watch.wrong()] == ["the disk of /logs has 512Ki left"]
    scene.now = replace(WELL, wall=WELL.wall + 100)
    await trio.sleep(5 * INTERVAL)
    assert scene.told[1:] == [
        "noticed: the clock was set forward by 100 s; times in logs jump, limits do not",
        "over: the disk of /logs has 512Ki left",
    ]
    assert scene.watch.wrong() == []
    assert (tmp_path / "events.jsonl").read_text().count('"machine"') == 3


def test_a_want_of_processes_is_known_by_a_start_that_failed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.watch.hear(SpawnFailed("A/0#1", errno.ENOENT, "no such program"))
    scene.watch.judge(WELL)
    assert scene.told == []
    scene.watch.hear(SpawnFailed("A/0#2", errno.EAGAIN, "cannot fork a process"))
    scene.watch.judge(WELL)
    scene.watch.judge(WELL)
    scene.watch.hear(Spawned("A/0#3", 1))
    scene.watch.judge(WELL)
    text = "processes cannot be started: cannot fork a process (Resource temporarily unavailable)"
    assert scene.told == [f"trouble: {text}", f"over: {text}"]


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "a.log"))
    seen = read_condition([str(tmp_path), str(tmp_path / "nowhere")], [log])
    assert 0 < seen.descriptors < seen.most_descriptors
    assert 0 < seen.tasks < seen.most_tasks
    assert seen.disks[str(tmp_path)].free
    assert seen.disks[str(tmp_path / "nowhere")] == Disk(free=None)
    assert seen.unwritten == {}
    full = LogFile("/dev/full")
    full.write(["x"])
    assert read_condition([], [full]).unwritten == {"/dev/full": "No space left on device"}
