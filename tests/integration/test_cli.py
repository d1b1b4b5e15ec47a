"""The commands, as processes, on an app that runs: what they print, what they exit with, what a user stumbles over."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from running import PATIENCE, SVCD, RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakeApp

SERVICE = """
    import os
    from collections.abc import AsyncIterator

    import svcd
    import trio

    @svcd.service
    class Words:
        def __init__(self) -> None:
            print("Words begins")

        @svcd.api
        async def split(self, text: str) -> list[str]:
            print("splitting", text)
            return text.split()

        @svcd.api
        async def reverse(self, data: bytes) -> bytes:
            return data[::-1]

        @svcd.api
        async def each(self, text: str) -> AsyncIterator[str]:
            for word in text.split():
                yield word + "."

        @svcd.api
        async def numbers(self, count: int) -> AsyncIterator[int]:
            for number in range(count):
                yield number
            raise ValueError("no more numbers")

        @svcd.api
        async def fail(self) -> int:
            raise ValueError("as asked")

        @svcd.api
        async def doze(self) -> None:
            await trio.sleep(60)

        @svcd.api
        def crash(self) -> int:
            print("last words", end="", flush=True)
            os._exit(3)

    @svcd.service
    class Counter:
        words = svcd.depends(Words)

        @svcd.api
        async def count(self, text: str) -> int:
            return len(await self.words.split(text=text))

        @svcd.api
        def fail_below(self) -> int:
            return self.words.to_sync.fail()
"""
SLOW_START = """
    import time
    from pathlib import Path

    import svcd

    @svcd.service
    class Entry:
        def __init__(self) -> None:
            while not (Path(__file__).parent / "go").exists():
                time.sleep(0.01)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """An app that runs."""
    with RunningApp(write_app(tmp_path_factory.mktemp("cli"), SERVICE, entry="Counter")) as app:
        yield app.up()


# svcd call


@pytest.mark.parametrize(
    ("target", "body", "answer"),
    [
        ("Words.split", '{"text": "a b"}', '["a","b"]\n'),
        ("words.split", '{"text": "a b"}', '["a","b"]\n'),  # names are unique without regard to case
        ("Counter.count", '{"text": "a b"}', "2\n"),
        ("Words.each", '{"text": "a b"}', "a.b."),
    ],
)
def test_call_prints_the_answer(app: RunningApp, target: str, body: str, answer: str) -> None:
    done = app.svcd("call", target, body)
    assert (done.stdout, done.stderr) == (answer, "")


def test_call_reads_the_body_from_a_file_or_from_stdin(app: RunningApp) -> None:
    file = app.base / "body.json"
    file.write_text('{"text": "from a file"}')
    assert app.svcd("call", "Words.split", f"@{file}").stdout == '["from","a","file"]\n'
    command = [*SVCD, "call", *app.options, "Words.reverse", "-", "--type", "application/octet-stream"]
    done = subprocess.run(command, env=app.env, cwd=app.base, input=b"\x00abc", capture_output=True, check=True)
    assert done.stdout == b"cba\x00"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("Words.split", "{}"), 1, "svcd: InvalidArgument: Words.split: text: Field required\n"),
        (("Words.split", "{text"), 1, "svcd: InvalidArgument: Words.split: body: Invalid JSON: "),
        (
            ("Words.split", "@/nope"),
            2,
            "svcd: /nope: No such file or directory\n@FILE reads the body from a file, and - ",
        ),
        (("Words.fail",), 1, "svcd: ValueError: as asked\nTraceback (most recent call last):\n"),
        (("Words.slit", "{}"), 4, "svcd: Words has no api slit; it has split, reverse"),
        (("Word.split", "{}"), 4, "svcd: no service Word; this app has Counter, Words"),
        (("Words.doze", "--timeout", "1"), 5, "svcd: Words.doze: no answer within 1 s; --timeout gives it more\n"),
    ],
)
def test_call_says_what_went_wrong(app: RunningApp, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = app.svcd("call", *arguments, code=code)
    assert done.stdout == ""
    assert done.stderr.startswith(said)
    assert "site-packages" not in done.stderr


def test_an_error_of_another_hop_is_shown_with_the_frames_of_user_code_alone(app: RunningApp) -> None:
    said = app.svcd("call", "Counter.fail_below", code=1).stderr
    assert said.startswith("svcd: ValueError: as asked\n")
    assert re.findall(r'File ".*/(.+)", line \d+, in (\w+)', said) == [
        ("service.py", "fail_below"),
        ("service.py", "fail"),
    ]


def test_call_prints_the_items_that_came_before_a_stream_failed(app: RunningApp) -> None:
    done = app.svcd("call", "Words.numbers", '{"count": 3}', code=1)
    assert done.stdout == "0\n1\n2\n"
    assert done.stderr.startswith("svcd: ValueError: no more numbers\n")


def test_a_crash_has_its_last_words_in_the_logs(app: RunningApp) -> None:
    done = app.svcd("call", "Words.crash", code=1)
    expected = "svcd: Words.crash: the replica was lost while the call ran; `svcd logs Words` has its last words\n"
    assert done.stderr == expected
    wait_until(lambda: "last words" in app.svcd("logs", "Words").stdout, "the last words, though no line ended them")
    assert app.svcd("call", "Words.split", '{"text": "a"}').stdout == '["a"]\n', "a call waits for a starting service"
    assert app.row("Words")["last_exit"] == "exited with status 3"


def test_call_waits_for_a_service_that_starts_and_gives_up_with_5(make_app: MakeApp) -> None:
    app = make_app(SLOW_START, entry="Entry").up(wait=False)
    wait_until((app.runtime / "control.sock").exists, "the daemon")
    late = app.svcd("call", "Entry.ping", "--timeout", "0.2", code=5)
    assert late.stderr == "svcd: Entry is not ready after 0.2 s; `svcd ps` shows what it waits for\n"
    command = [*SVCD, "call", *app.options, "Entry.ping"]
    with subprocess.Popen(command, env=app.env, cwd=app.base, stdout=subprocess.PIPE) as call:
        (app.folder / "go").touch()
        answer, _ = call.communicate(timeout=PATIENCE)
    assert answer == b"pong\n"


# svcd ps, check


def test_ps_lists_the_replicas(app: RunningApp) -> None:
    header, *lines = app.svcd("ps").stdout.splitlines()
    assert header.split() == [
        "REPLICA",
        "STATE",
        "PID",
        "GPUS",
        "CPU",
        "MEMORY",
        "IN",
        "FLIGHT",
        "RESTARTS",
        "SINCE",
        "REASON",
    ]
    assert {line.split()[0] for line in lines} == {"ingress/0", "Words/0", "Counter/0"}
    rows = json.loads(app.svcd("ps", "--json").stdout)
    assert [row["pid"] for row in rows] == [row["pid"] for row in app.rows()]


def test_check_prints_the_graph(app: RunningApp) -> None:
    assert app.svcd("check").stdout.splitlines()[1:] == ["  Words: 1 replica", "  Counter: 1 replica; calls Words"]
    whole = json.loads(app.svcd("check", "--json").stdout)
    assert (whole["name"], whole["entry"], list(whole["services"])) == (app.name, "Counter", ["Words", "Counter"])


def on_a_terminal(app: RunningApp, *arguments: str, **env: str) -> str:
    """Run a command whose output is a terminal; return what it wrote there."""
    terminal, its = pty.openpty()
    with subprocess.Popen(
        [*SVCD, *arguments], env={**app.env, "TERM": "xterm", **env}, cwd=app.base, stdout=its, stderr=its
    ) as command:
        os.close(its)
        written = b""
        try:
            while data := os.read(terminal, 65536):
                written += data
        except OSError:  # EIO: its last writer has gone
            pass
        os.close(terminal)
        command.wait(PATIENCE)
    return written.decode()


def test_colours_are_for_terminals_and_those_who_want_them(app: RunningApp) -> None:
    assert "\x1b[" in on_a_terminal(app, "ps", *app.options)
    assert "\x1b[" not in on_a_terminal(app, "ps", *app.options, NO_COLOR="1")
    assert "\x1b[" not in on_a_terminal(app, "logs", *without_f(app), NO_COLOR="1")
    assert "\x1b[" not in app.svcd("ps").stdout


def without_f(app: RunningApp) -> list[str]:
    """The app's options for a command whose -f means something else."""
    return ["--file" if option == "-f" else option for option in app.options]


# svcd logs


def test_logs_of_some_or_all(app: RunningApp) -> None:
    app.post("count", {"text": "seen by logs"})
    wait_until(lambda: "splitting seen by logs" in app.svcd("logs").stdout, "the line")
    assert "splitting seen by logs" in app.svcd("logs", "words/0").stdout
    last = app.svcd("logs", "Words", "-n", "1").stdout.splitlines()
    assert len(last) == 1
    assert last[0].split()[1:2] == ["Words/0"]
    assert "Words/0: starting -> ready" in app.svcd("logs", "daemon").stdout


def test_logs_of_a_service_that_has_none(app: RunningApp) -> None:
    done = app.svcd("logs", "Nobody", code=4)
    assert done.stderr.startswith("svcd: Nobody has printed nothing, or there is no such service; in ")
    assert "Words" in done.stderr


def test_logs_follow_until_interrupted(app: RunningApp) -> None:
    command = [*SVCD, "logs", "-f", "-n", "0", *without_f(app), "Words", "Nobody"]
    with subprocess.Popen(
        command, env={**app.env, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        assert "Nobody has printed nothing" in follower.stderr.readline()
        app.post("count", {"text": "one two"})
        assert follower.stdout.readline().rstrip().endswith("splitting one two")
        app.svcd("call", "Words.crash", code=1)
        assert follower.stdout.readline().rstrip().endswith("last words")
        assert follower.stdout.readline().rstrip().endswith("Words begins"), "the next process writes to the same log"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE) == 0


# An app that does not run, or not yet


@pytest.mark.parametrize("arguments", [("ps",), ("ps", "--json"), ("call", "Words.split")], ids=" ".join)
def test_not_running_is_3(make_app: MakeApp, arguments: tuple[str, ...]) -> None:
    app = make_app(SERVICE, entry="Counter")
    done = app.svcd(*arguments, code=3)
    assert (
        done.stderr
        == f"svcd: the app is not running (nobody answers at {app.runtime}/control.sock); `svcd up` starts it\n"
    )


def test_a_daemon_that_is_stuck_is_not_waited_for(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process accepts connections all the same: that is the kernel's work."""
    app = make_app(SLOW_START, entry="Entry").up(wait=False)
    wait_until((app.runtime / "control.sock").exists, "the daemon")
    assert app.daemon is not None
    app.daemon.send_signal(signal.SIGSTOP)
    try:
        done = app.svcd("ps", code=5)
        assert "says nothing; is it stopped or stuck?" in done.stderr
    finally:
        app.daemon.send_signal(signal.SIGCONT)


# svcd up -d


def test_up_in_the_background_and_down(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Counter")
    done = app.svcd("up", "-d")
    assert done.stdout == ""
    assert done.stderr.startswith("started, pid ")
    assert app.svcd("call", "Counter.count", '{"text": "a b"}').stdout == "2\n"
    app.processes()
    assert app.svcd("down").stdout == "stopped\n"
    app.assert_gone()
    assert not app.runtime.exists()


def test_up_wait_shows_the_start_and_where_it_answers(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Counter")
    lines = app.svcd("up", "-d", "--wait").stderr.splitlines()
    app.svcd("down")
    assert lines[0].endswith(f"{app.name} in {app.folder}")
    assert {line.split()[0] for line in lines[1:-1]} == {"ingress/0", "Words/0", "Counter/0"}
    assert lines[-1].startswith("ready after ")
    assert lines[-1].endswith("POST /count  POST /fail_below")


def test_up_wait_gives_up_waiting_with_5_and_the_app_goes_on(make_app: MakeApp) -> None:
    app = make_app(SLOW_START, entry="Entry")
    done = app.svcd("up", "--wait", "--timeout", "0.5", code=5)
    assert done.stderr.splitlines()[-1].startswith("svcd: not ready after 0.5 s; it goes on starting; `svcd logs` ")
    (app.folder / "go").touch()
    wait_until(lambda: {row["state"] for row in app.rows()} == {"ready"}, "the app to be ready all the same")
    app.svcd("down")


# What needs no app


def help_of(*command: str) -> str:
    """Run --help."""
    return subprocess.run([*SVCD, *command, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_command_explains_itself() -> None:
    listed = help_of().partition("Commands:")[2].partition("Exit codes")[0]
    commands = re.findall(r"^  (\w+)  ", listed, re.MULTILINE)
    assert {"check", "up", "down", "ps", "call", "logs", "gpus", "unit"} <= set(commands)
    for command in commands:
        text = help_of(command)
        assert text.startswith(f"Usage: svcd {command} ")
        assert text.splitlines()[2].strip(), "a sentence on what it does"
        assert "..." not in text.partition("Commands:")[2], "no short help is cut off"


def test_help_says_what_signals_do_and_what_exit_codes_mean() -> None:
    assert "second Ctrl-C" in " ".join(help_of("up").split())
    assert "3 not running" in help_of()


def test_gpus_on_a_box_with_or_without_any() -> None:
    text = subprocess.run([*SVCD, "gpus"], capture_output=True, text=True, check=True).stdout
    inventory: dict[str, Any] = json.loads(
        subprocess.run([*SVCD, "gpus", "--json"], capture_output=True, text=True, check=True).stdout
    )
    if not inventory["gpus"]:
        assert text == f"no GPUs: {inventory['problem'] or 'NVML lists none'}\n"
    for gpu in inventory["gpus"]:
        assert gpu["uuid"] in text


def test_a_unit_is_printed_for_an_app_that_does_not_run(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Counter")
    done = subprocess.run(
        [*SVCD, "unit", "print", *app.options], env=app.env, capture_output=True, text=True, check=True
    )
    assert "Type=notify" in done.stdout
    assert f"WorkingDirectory={app.folder}" in done.stdout


def test_a_runtime_directory_too_deep_for_a_socket_is_told_in_words(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Counter")
    app.env["SVCD_RUNTIME_DIR"] = f"/tmp/{'x' * 120}"
    told = app.svcd("ps", code=3).stderr
    assert "AF_UNIX path too long" in told
    assert "SVCD_RUNTIME_DIR" in told
    assert "Traceback" not in told
