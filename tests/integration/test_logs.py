"""`svcd logs` of a running app: records of Python's logging, times, JSON, earlier runs, a full disk at its end."""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from running import SVCD, RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = """
    import logging
    import sys

    import svcd

    logging.basicConfig(level=logging.INFO, format="a form of its own: %(message)s")
    log = logging.getLogger("app.talker")

    @svcd.service
    class Talker:
        def __init__(self) -> None:
            log.info("loading %d weights", 3)
            print("plain")

        @svcd.api
        async def talk(self) -> int:
            log.warning("from the loop")
            return 1

        @svcd.api
        def work(self) -> int:
            try:
                raise ValueError("no such row")
            except ValueError:
                log.exception("from a thread")
            log.debug("not shown")
            return 2

        @svcd.api
        async def odd(self) -> int:
            print("half a line", end="", flush=True)
            log.error("two\\nlines")
            log.error("long " + "x" * 100_000)
            print(chr(0x1e) + "no record")
            return 3

    @svcd.service
    class Entry:
        talker = svcd.depends(Talker)

        @svcd.api
        async def talk(self) -> int:
            return await self.talker.talk() + await self.talker.to_async.work() + await self.talker.odd()
"""
MANY = """
    import svcd

    @svcd.service
    class Entry:
        @svcd.api
        async def say(self, lines: int) -> int:
            for number in range(lines):
                print(f"{number:06d}", "x" * 1000)
            return lines
"""
QUIET = """
    import logging

    import svcd

    @svcd.service
    class Entry:
        @svcd.api
        async def warn(self) -> int:
            logging.getLogger("app").warning("of nobody's setting up")
            return 4
    """
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = write_app(tmp_path_factory.mktemp("app"), SERVICE, entry="Entry")
    with RunningApp(folder) as app:
        app.up()
        with app.connection() as connection:
            parent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "Content-Type": "application/json"}
            connection.request("POST", "/talk", b"{}", parent)
            assert connection.getresponse().read() == b"6"
        wait_until(lambda: "no record" in app.log("Talker.0"), "the last line")
        yield app


def lines(app: RunningApp, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.svcd("logs", "--json", *options).stdout.splitlines()]


def test_records_have_level_logger_and_trace_and_plain_output_has_none(app: RunningApp) -> None:
    found = lines(app, "Talker")
    records = {line["message"]: line for line in found if line["kind"] == "record"}
    assert [line["message"] for line in found if line["kind"] == "output"] == ["plain", "half a line", "\x1eno record"]
    said = {"kind": "record", "message": "loading 3 weights", "level": "INFO", "logger": "app.talker"}
    nothing = {"trace": None, "exception": None}
    loading = records["loading 3 weights"]
    assert loading == {"time": loading["time"], "service": "Talker", "replica": 0} | said | nothing
    assert (records["from the loop"]["level"], records["from the loop"]["trace"]) == ("WARNING", TRACE)
    assert (records["from a thread"]["level"], records["from a thread"]["trace"]) == ("ERROR", TRACE)
    assert records["from a thread"]["exception"].endswith("ValueError: no such row")
    assert "two\nlines" in records
    (long,) = [message for message in records if message.startswith("long ")]
    assert long.endswith(" characters more)")
    assert "not shown" not in records


def test_people_read_records_as_lines(app: RunningApp) -> None:
    text = app.svcd("logs", "Talker").stdout
    assert "Talker/0         INFO app.talker: loading 3 weights\n" in text
    assert f"Talker/0         WARNING app.talker: from the loop [trace {TRACE}]\n" in text
    assert "Talker/0         ValueError: no such row\n" in text
    assert "Talker/0         half a line\n" in text
    assert "a form of its own" not in text


def test_who_sets_up_no_logging_has_records_of_warnings(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "quiet", QUIET, entry="Entry")
    with RunningApp(folder) as quiet:
        quiet.up()
        assert quiet.post("warn")[0] == 200
        wait_until(lambda: quiet.log("Entry.0"), "the line")
        (line,) = lines(quiet, "Entry")
        assert (line["kind"], line["level"], line["message"]) == ("record", "WARNING", "of nobody's setting up")
        quiet.svcd("down")
        assert quiet.daemon is not None
        quiet.daemon.wait()
        quiet.up()
        assert quiet.post("warn")[0] == 200
        wait_until(lambda: len(lines(quiet, "Entry")) == 2, "the second line")
        first, between, second = quiet.svcd("logs", "Entry").stdout.splitlines()
        assert between.startswith("-- svcd up at ")
        assert "WARNING app: of nobody's setting up [trace " in first
        assert "WARNING app: of nobody's setting up [trace " in second
        assert len(quiet.svcd("logs", "Entry", "-n", "1").stdout.splitlines()) == 1


def test_logs_keep_what_they_are_told_to(tmp_path: Path) -> None:
    toml = """
        [app.logs]
        size = "64Ki"
        age = "1d"
        burst = "128Ki"
    """
    folder = write_app(tmp_path / "many", MANY, entry="Entry")
    (folder / "svcd.toml").write_text((folder / "svcd.toml").read_text() + textwrap.dedent(toml))
    with RunningApp(folder) as many:
        many.logs.mkdir()
        (many.logs / "Entry.0.log").write_text("2020-01-01T00:00:00.000Z of long ago\n")
        many.up()
        assert many.post("say", {"lines": 1})[0] == 200
        old = many.logs / "Entry.0.log.1"
        wait_until(old.exists, "the old file to be rotated for its age")
        assert "of long ago" in old.read_text()
        assert many.post("say", {"lines": 1000})[0] == 200
        many.svcd("down")
        found = [line["message"] for line in lines(many, "Entry", "--since", "2000-01-01")]
        assert max(path.stat().st_size for path in many.logs.glob("Entry.0.log*")) <= 64 * 1024 + 60 * 1024
        (begin,) = [line for line in found if line.startswith("svcd: more than 131072 bytes within 10 s: ")]
        (dropped,) = [line for line in found if line.endswith(" lines were dropped here")]
        written = [line for line in found[: found.index(begin)] if "x" * 1000 in line]
        last = found[found.index(dropped) + 1 :]
        assert len(written) + int(dropped.split()[1]) + len(last) == 1001
        assert last[-1].startswith("000999 ")


def test_lines_are_chosen_by_time_and_number(app: RunningApp) -> None:
    every = lines(app, "Talker", "--since", "1h")
    assert every == lines(app, "Talker")
    assert lines(app, "Talker", "--since", "1h", "-n", "2") == lines(app, "Talker", "-n", "2") == every[-2:]
    later = lines(app, "Talker", "--since", every[1]["time"])
    assert later == [line for line in every if line["time"] >= every[1]["time"]]
    assert lines(app, "Talker", "-n", "0") == lines(app, "--since", "2100-01-01") == []


def test_the_apps_file_after_f_is_told_from_a_service(app: RunningApp) -> None:
    for command in ("logs", "events"):
        refused = app.svcd(command, "-f", "svcd.toml", code=4).stderr
        assert refused == "svcd: svcd.toml is no service; -f follows here, `--file svcd.toml` names the app's file\n"


def test_output_that_cannot_be_written_is_an_error_in_words(app: RunningApp) -> None:
    options = [option if option != "-f" else "--file" for option in app.options]
    for command in ("logs", "events", "status"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*SVCD, command, *options], env=app.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert (done.returncode, done.stderr) == (1, "svcd: cannot write the output: No space left on device\n")
