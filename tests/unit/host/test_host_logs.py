"""How bytes become log lines, and log files are written and read back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.host.log_files import LogFile, LogFiles, LogPump
from svcd.host.logs import (
    FILES_KEPT,
    LONGEST_LINE,
    MISSED,
    WINDOW,
    LineSplitter,
    LogFollower,
    LogLimits,
    LogLine,
    parse_line,
    since,
    stamp,
    tail,
)

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1735819445.678


def test_the_form_of_a_line() -> None:
    assert stamp(NOON) == "2025-01-02T12:04:05.678Z"
    assert stamp(0) == "1970-01-01T00:00:00.000Z"
    assert parse_line(f"{stamp(NOON)}  indented ") == LogLine(stamp(NOON), " indented ")
    assert parse_line(f"{stamp(NOON)} ") == LogLine(stamp(NOON), "")


@pytest.mark.parametrize(
    "text", ["", "plain", "2025-01-02", "2025-01-02T12:04:05.678Z", "x025-01-02T12:04:05.678Z text"]
)
def test_a_line_without_a_stamp(text: str) -> None:
    assert parse_line(text) == LogLine("", text)


@given(st.lists(st.binary(max_size=40)), st.data())
def test_every_split_gives_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(lines)
    expected = [line.decode(errors="replace") for line in stream.split(b"\n")]
    if not expected[-1]:
        expected.pop()
    splitter, found, at = LineSplitter(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, len(stream) - at))
        found += splitter.feed(stream[at : at + step])
        at += step
    found += splitter.flush()
    assert found == expected
    assert splitter.flush() == []


@pytest.mark.parametrize("character", ["x", "é", "€", "𝄞"])
@pytest.mark.parametrize("step", [1000, 65536, 10**7])
def test_long_lines_are_split_between_characters_and_memory_is_bounded(character: str, step: int) -> None:
    stream = ("-" + character * LONGEST_LINE + "\n").encode()
    splitter, found = LineSplitter(), []
    for at in range(0, len(stream), step):
        found += splitter.feed(stream[at : at + step])
        assert len(splitter._rest) <= LONGEST_LINE
    assert "".join(found) == "-" + character * LONGEST_LINE
    assert all(len(piece.encode()) <= LONGEST_LINE for piece in found)


def test_bytes_that_are_no_characters_are_cut_anywhere() -> None:
    (first, second) = LineSplitter().feed(b"\x80" * (LONGEST_LINE + 5) + b"\n")
    assert first + second == "\N{REPLACEMENT CHARACTER}" * (LONGEST_LINE + 5)


def numbers(path: Path, count: int = 1000) -> list[int]:
    return [int(line.text) for line in tail(str(path), count)]


def test_rotation_keeps_whole_lines_and_so_many_files(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "a.log"), size=1000, kept=3, clock=lambda: NOON)
    for number in range(200):
        log.write([str(number)])
    log.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert max(entry.stat().st_size for entry in tmp_path.iterdir()) <= 1000
    found = numbers(tmp_path / "a.log")
    assert found == list(range(found[0], 200))
    assert len(found) > 60


@pytest.mark.parametrize("count", [0, 1, 5, 33, 34, 35, 60])
def test_tail_reads_back_over_rotated_files(tmp_path: Path, count: int) -> None:
    log = LogFile(str(tmp_path / "a.log"), size=1000, kept=3)
    for number in range(100):
        log.write([str(number)])
    log.close()
    assert numbers(tmp_path / "a.log", count) == list(range(100 - count, 100))


def test_tail_of_large_files_and_of_none(tmp_path: Path) -> None:
    assert tail(str(tmp_path / "none.log"), 5) == []
    path = tmp_path / "a.log"
    path.write_text("".join(f"{number} {'x' * 90}\n" for number in range(10_000)))
    assert [line.text.split()[0] for line in tail(str(path), 3000)] == [str(number) for number in range(7000, 10_000)]
    path.write_text("whole\nhalf")
    assert [line.text for line in tail(str(path), 5)] == ["whole"]


def test_follower_crosses_rotations_that_it_did_not_see(tmp_path: Path) -> None:
    path = str(tmp_path / "a.log")
    log, follower = LogFile(path, size=200, kept=5), LogFollower(path)
    assert follower.read() == []
    log.write(["0"])
    assert [line.text for line in follower.read()] == ["0"]
    for number in range(1, 25):  # three files and a half
        log.write([str(number)])
    assert [line.text for line in follower.read()] == [str(number) for number in range(1, 25)]
    assert follower.read() == []
    follower.close()
    late = LogFollower(path)
    log.write(["late"])
    assert [line.text for line in late.read()] == ["late"]
    late.close()
    log.close()


def test_follower_reads_files_to_their_end_that_were_rotated_away_meanwhile(tmp_path: Path) -> None:
    path = str(tmp_path / "a.log")
    log, follower = LogFile(path, size=200, kept=FILES_KEPT), LogFollower(path)
    texts: list[str] = []
    for number in range(200):  # it sees each file, and is slower in reading than the keeper in writing
        log.write([str(number)])
        texts += [line.text for line in follower.read(limit=1)] if number % 8 == 0 else []
    while lines := follower.read():
        texts += [line.text for line in lines]
    assert texts == [str(number) for number in range(200)]
    follower.close()
    log.close()


def test_follower_says_where_lines_may_be_missing(tmp_path: Path) -> None:
    path = str(tmp_path / "a.log")
    log, follower = LogFile(path, size=200, kept=FILES_KEPT), LogFollower(path)
    log.write(["first"])
    assert [line.text for line in follower.read()] == ["first"]
    for number in range(100):
        log.write([str(number)])
    lines = follower.read()
    texts = [line.text for line in lines]
    at = texts.index(MISSED)
    assert texts[:at] == [str(number) for number in range(at)]  # what is left of the file that it was at
    assert texts[at + 1 :] == [str(number) for number in range(int(texts[at + 1]), 100)]
    assert lines[at].stamp == lines[at - 1].stamp  # so that it stands between the lines before and after it
    assert follower.read() == []
    for each in tmp_path.iterdir():
        each.unlink()
    log.close()
    log.write(["anew"])  # in a folder that somebody has cleaned: nothing of that was missed
    assert [line.text for line in follower.read()] == ["anew"]
    follower.close()
    log.close()


def test_a_full_disk_is_told_of_once_when_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.symlink_to("/dev/full")
    log = LogFile(str(path), clock=lambda: NOON)
    log.write(["one", "two"])
    log.write(["three"])
    assert log.dropped == 3
    assert repr(log) == f"<LogFile {path}, 3 lines dropped: No space left on device>"
    path.unlink()
    log.write(["four"])
    log.write(["five"])
    log.close()
    assert [line.text for line in tail(str(path), 9)] == [
        "svcd: 3 lines were lost here: No space left on device",
        "four",
        "five",
    ]


def test_a_write_that_is_cut_short_leaves_no_half_line(tmp_path: Path) -> None:
    """With a limit on the size of files, the kernel takes a part of a write before it refuses the rest."""
    program = """
import resource, sys
from svcd.host.log_files import LogFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
log = LogFile(sys.argv[1])
log.write(["first"])
log.write(["second " * 20, "third"])
assert log.dropped == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, resource.RLIM_INFINITY))
log.write(["fourth"])
"""
    path = tmp_path / "a.log"
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert [line.text for line in tail(str(path), 9)] == [
        "first",
        "svcd: 2 lines were lost here: File too large",
        "fourth",
    ]


def test_writers_of_one_path_share_the_file(tmp_path: Path) -> None:
    files, path = LogFiles(), str(tmp_path / "a.log")
    one, two = files.open(path), files.open(path)
    assert one is two
    files.release(one)
    two.write(["still open"])
    files.release(two)
    three = files.open(path)
    assert three is not one
    files.release(three)


def test_pump_moves_a_bounded_amount_and_keeps_the_last_lines(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    log = LogFile(str(tmp_path / "a.log"))
    pump = LogPump(reader, log)
    assert pump.pump()  # nothing there is not the end
    os.write(writer, b"".join(b"%d\n" % number for number in range(60)) + b"part")
    assert pump.pump()
    assert pump.last_lines == [str(number) for number in range(10, 60)]
    pump.drain()
    assert pump.last_lines[-1] == "part"
    os.close(writer)
    assert not pump.pump()
    pump.close()
    log.close()


def test_a_file_whose_first_line_is_old_is_begun_anew(tmp_path: Path) -> None:
    now = 1e9
    log = LogFile(str(tmp_path / "a.log"), age=3600, clock=lambda: now)
    log.write(["one"])
    now += 3500
    log.write(["two"])
    assert not (tmp_path / "a.log.1").exists()
    now += 200
    log.write(["three"])
    log.close()
    assert [line.text for line in tail(str(tmp_path / "a.log"), 9)] == ["one", "two", "three"]
    assert (tmp_path / "a.log").read_text().endswith("Z three\n")
    assert (tmp_path / "a.log.1").read_text().endswith("Z two\n")
    assert [line.text for line in since(str(tmp_path / "a.log"), stamp(1e9 + 1))] == ["two", "three"]
    assert [line.text for line in since(str(tmp_path / "a.log"), stamp(1e9 + 3600))] == ["three"]
    assert since(str(tmp_path / "a.log"), stamp(2e9)) == []


def test_a_flood_is_cut_said_and_over_with_its_window(tmp_path: Path) -> None:
    now = 0.0
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    log = LogFile(str(tmp_path / "a.log"))
    pump = LogPump(reader, log, LogLimits(burst=100), clock=lambda: now)

    def printed(*lines: str) -> None:
        os.write(writer, "".join(f"{line}\n" for line in lines).encode())
        assert pump.pump()

    printed("a" * 60)
    printed("b" * 60, "c")
    printed("d")
    now += WINDOW
    printed("e" * 90)
    printed("f", *map(str, range(60)))
    os.close(writer)
    pump.drain()
    pump.close()
    log.close()
    begin = "svcd: more than 100 bytes within 10 s: lines are dropped from here"
    texts = [line.text for line in tail(str(tmp_path / "a.log"), 100)]
    before = ["a" * 60, begin, "svcd: 3 lines were dropped here", "e" * 90, begin]
    assert texts == [*before, "svcd: 11 lines were dropped here", *map(str, range(10, 60))]
