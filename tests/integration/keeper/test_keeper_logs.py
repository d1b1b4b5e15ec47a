"""The logs that the keeper writes of real children."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from signal import SIGCONT
from typing import TYPE_CHECKING

from kept_app import state_of, until

from svcd.host.logs import FILE_SIZE, FILES_KEPT, LogFollower, parse_line
from svcd.values.orders import Kill, Signal, Spawned

if TYPE_CHECKING:
    from kept_app import KeptApp


async def test_every_line_has_a_stamp_and_the_last_partial_one_is_kept(app: KeptApp) -> None:
    await app.spawned("Print/0#1", ["sh", "-c", "echo one; echo two >&2; echo; printf three"])
    exited = await app.ended("Print/0#1")
    assert exited.last_lines == ["one", "two", "", "three"]
    text = app.log_file("Print/0#1").read_text()
    lines = [parse_line(line) for line in text.splitlines()]
    assert [line.text for line in lines] == exited.last_lines
    assert all(line.stamp for line in lines)
    assert text.endswith("three\n")
    assert app.log_file("Print/0#1").stat().st_mode & 0o777 == 0o600


async def test_generations_append_to_one_log(app: KeptApp) -> None:
    for generation in range(3):
        await app.spawned(f"Again/0#{generation}", ["echo", str(generation)])
        await app.ended(f"Again/0#{generation}")
    assert app.lines("Again/0") == ["0", "1", "2"]


async def test_exited_carries_the_last_fifty_lines_cut(app: KeptApp) -> None:
    await app.spawned("Seq/0#1", ["sh", "-c", "seq 1000; printf '%05000d' 0"])
    exited = await app.ended("Seq/0#1")
    assert exited.last_lines == [*map(str, range(952, 1001)), "0" * 2000]
    assert app.lines("Seq/0#1", 1) == ["0" * 5000]


async def test_binary_output_is_text_in_the_log(app: KeptApp) -> None:
    app.spawn_from_zoo("Binary/0#1", "binary")
    await app.expect(Spawned)
    exited = await app.ended("Binary/0#1")
    assert exited.last_lines[-1] == "after"
    assert any("\N{REPLACEMENT CHARACTER}" in line for line in app.lines("Binary/0#1"))


async def test_a_long_line_is_split_between_characters(app: KeptApp) -> None:
    app.spawn_from_zoo("Long/0#1", "long_line")
    await app.expect(Spawned)
    await app.ended("Long/0#1")
    pieces = app.lines("Long/0#1")
    assert "".join(pieces) == "é" * 100_000
    assert max(map(len, pieces)) == 32 * 1024


async def test_a_flood_is_rotated_and_holds_up_nobody(app: KeptApp) -> None:
    app.spawn_from_zoo("Flood/0#1", "floods")
    await app.expect(Spawned)
    log = app.log_file("Flood/0#1")
    await until(log.with_name(f"{log.name}.{FILES_KEPT - 1}").exists)
    await app.spawned("Calm/0#1", ["echo", "calm"])
    assert (await app.ended("Calm/0#1")).last_lines == ["calm"]
    app.send(Kill("Flood/0#1"))
    await app.ended("Flood/0#1")
    files = sorted(log.parent.glob(f"{log.name}*"))
    assert len(files) == FILES_KEPT
    for file in files:
        assert file.stat().st_size <= FILE_SIZE
        first, *_, last = file.read_text().splitlines()
        # Nothing is torn at the ends but the line that SIGKILL interrupted.
        assert len(parse_line(first).text) == 97
        assert len(parse_line(last).text) == 97 or file == log
    assert _resident(app.keeper) < 64 * 1024 * 1024


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def test_a_log_directory_that_vanishes_is_made_again(app: KeptApp) -> None:
    pid = await app.spawned("Cat/0#1", ["sh", "-c", "echo one; kill -STOP $$; echo two"])
    await until(lambda: app.lines("Cat/0#1") == ["one"])
    shutil.rmtree(app.log_file("Cat/0#1").parent)
    await _continue(app, pid)
    await app.ended("Cat/0#1")
    assert app.lines("Cat/0#1") == ["two"]


async def test_a_log_that_cannot_be_written_holds_up_nothing_and_the_loss_is_told(app: KeptApp) -> None:
    folder = app.log_file("Cat/0#1").parent
    folder.write_text("in the way")
    pid = await app.spawned("Cat/0#1", ["sh", "-c", "seq 100000; kill -STOP $$; echo back; echo again"])
    await until(lambda: state_of(pid) == "T")  # it got rid of all its lines, and the pipe holds a few thousand at most
    folder.unlink()
    await _continue(app, pid)
    exited = await app.ended("Cat/0#1")
    assert exited.last_lines[-2:] == ["back", "again"]
    notice, *rest = app.lines("Cat/0#1")
    told = re.fullmatch(r"svcd: (\d+) lines were lost here: Not a directory", notice)
    assert told is not None
    assert int(told[1]) > 50_000
    assert rest == [*map(str, range(int(told[1]) + 1, 100_001)), "back", "again"]


async def _continue(app: KeptApp, pid: int) -> None:
    await until(lambda: state_of(pid) == "T")
    app.send(Signal("Cat/0#1", SIGCONT))


async def test_a_log_moved_away_by_somebody_is_begun_anew(app: KeptApp) -> None:
    pid = await app.spawned("Cat/0#1", ["sh", "-c", "echo one; kill -STOP $$; echo two"])
    log = app.log_file("Cat/0#1")
    await until(lambda: app.lines("Cat/0#1") == ["one"])
    log.rename(log.with_suffix(".old"))
    await _continue(app, pid)
    await app.ended("Cat/0#1")
    assert app.lines("Cat/0#1") == ["two"]


async def test_a_follower_misses_nothing_over_rotations(app: KeptApp) -> None:
    count = 600_000
    follower = LogFollower(app.log("Follow/0#1"), from_start=True)
    await app.spawned("Follow/0#1", ["seq", str(count)])
    expected = 1
    while expected <= count:
        for line in await until(follower.read):
            assert line.text == str(expected)
            expected += 1
    await app.ended("Follow/0#1")
    assert app.log_file("Follow/0#1").with_name("Follow.0.log.1").exists()
    follower.close()
