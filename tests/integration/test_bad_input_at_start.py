"""What cannot start: a message with cause, place and next step, exit code 1, and nothing left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from running import PATIENCE

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

GOOD = """
    import svcd

    @svcd.service
    class Words:
        @svcd.api
        async def split(self, text: str) -> list[str]:
            return text.split()

    @svcd.service
    class Counter:
        words = svcd.depends(Words)

        @svcd.api
        async def count(self, text: str) -> int:
            return len(await self.words.split(text=text))

    class Plain:
        pass
"""
CIRCLE = """
    import svcd

    @svcd.service
    class Counter:
        words = svcd.depends("service:Words")

        @svcd.api
        def count(self) -> int:
            return 1

    @svcd.service
    class Words:
        counter = svcd.depends(Counter)

        @svcd.api
        def split(self) -> int:
            return 1
"""


def refused(app: RunningApp, *options: str) -> str:
    """Run `svcd up`, which fails; return what it said, once it is sure that nothing is left."""
    app.up(*options, wait=False)
    assert app.daemon is not None
    assert app.daemon.wait(PATIENCE) == 1
    assert_clean(app)
    return app.stderr


def assert_clean(app: RunningApp) -> None:
    """Neither processes nor a runtime directory."""
    app.assert_gone()
    assert not app.runtime.exists()


@dataclass(frozen=True)
class Bad:
    """One thing that is wrong, and what is said; each of `said` is in it."""

    service: str = GOOD
    toml: str = ""
    entry: str = "Counter"
    said: tuple[str, ...] = ()


IMPORTS = {
    "raises": ('raise RuntimeError("no licence")', ("failed: RuntimeError: no licence", "service.py", "no licence")),
    "syntax": ("def broken(:", ("failed: SyntaxError: invalid syntax", "def broken(:", "^")),
    "misses": ("import nothere", ("ModuleNotFoundError: No module named 'nothere'", "import nothere")),
    "exits": ("raise SystemExit(3)", ("failed: SystemExit: 3",)),
    "vanishes": (
        "import os; os._exit(7)",
        ("cannot import service:Counter", "it exited with status 7", sys.executable),
    ),
    "crashes": (
        "import ctypes; ctypes.string_at(0)",
        ("cannot import service:Counter", "it was killed by SIGSEGV", "Segmentation fault", "service.py", "line 2"),
    ),
}
BAD = {
    "broken TOML": Bad(toml="[services\n", said=("svcd.toml:4", "not TOML")),
    "unknown service": Bad(
        toml="[services.Word]\nthreads = 2\n",
        said=("svcd.toml:4:11: services.Word: no such service; did you mean Words?", "[services.Word]", "^^^^"),
    ),
    "unknown key": Bad(
        toml="[services.Words]\nthread = 2\n",
        said=("svcd.toml:5:1: services.Words.thread: unknown key; did you mean threads?",),
    ),
    "two problems": Bad(toml="[services.Words]\nthread = 2\nthreads = 0\n", said=("svcd.toml:5:1:", "svcd.toml:6:11:")),
    "unknown module": Bad(
        toml='[profiles.p]\napp.service = "nothere:Counter"\n',
        said=("there is no module 'nothere' (app.service, svcd.toml:5)", sys.executable),
    ),
    "unknown class": Bad(
        entry="Count",
        said=("service.py (app.service, svcd.toml:2): there is no class 'Count'; did you mean", "Counter"),
    ),
    "no service": Bad(
        entry="Plain",
        said=("service:Plain (app.service, svcd.toml:2) is no service; put @svcd.service above the class",),
    ),
    "circle": Bad(CIRCLE, said=("in a circle: Counter -> Words -> Counter", "service.py:4", "service.py:12")),
    "no interpreter": Bad(
        toml='[services.Words]\npython = "/nope/python"\n',
        said=("svcd.toml:5:10: services.Words.python: no interpreter at /nope/python", "-m venv"),
    ),
    **{f"import {name}": Bad(f"\n    {line}\n{GOOD}", said=said) for name, (line, said) in IMPORTS.items()},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_by_up_and_check_alike(make_app: MakeApp, name: str) -> None:
    bad = BAD[name]
    options = ("--profile", "p") if "profiles" in bad.toml else ()
    app = make_app(bad.service, bad.toml, entry=bad.entry, options=options)
    said = refused(app).replace(f"{app.folder}/", "")
    assert said.startswith("svcd: ")
    for part in bad.said:
        assert part in said
    for part in ("supervisor/svcd/app", "importlib/__init__.py", "site-packages", "KeyboardInterrupt"):
        assert name == "import crashes" or part not in said, "the user's frames are enough"
    checked = app.svcd("check", code=1)
    assert (checked.stdout, checked.stderr.replace(f"{app.folder}/", "").splitlines()[0]) == ("", said.splitlines()[0])


def test_no_file(make_app: MakeApp) -> None:
    app = make_app(GOOD, entry="Counter")
    (app.folder / "svcd.toml").unlink()
    path = app.folder / "svcd.toml"
    expected = f"svcd: {path}: no such file; `-f FILE` names the app's TOML file\n"
    assert refused(app) == expected
    for command in ("up", "check", "ps", "logs", "down"):
        assert app.svcd(command, *(["-d"] if command == "up" else []), code=1).stderr == expected


STUCK = """#!/bin/sh
trap 'echo what it does just now; exit 3' QUIT
sleep 1000 &  # holds the output open
while :; do sleep 0.05; done
"""
IMPATIENT = """
from svcd.cli.main import main
from svcd.runtime import discovery

discovery.LIMIT = 4.0  # else five minutes; the interpreter has begun by then, however busy the machine is
discovery.LAST_WORDS = 2.0
main()
"""


def test_check_waits_for_no_interpreter_for_ever(make_app: MakeApp) -> None:
    app = make_app(GOOD, '[services.Words]\npython = "stuck"\n', entry="Counter")
    python = app.folder / "stuck"
    python.write_text(STUCK)
    python.chmod(0o755)
    check = [sys.executable, "-P", "-c", IMPATIENT, "check", *app.options]
    command = ["sh", "-c", "trap '' QUIT; exec \"$@\"", "sh", *check]  # as in the background of a script
    done = subprocess.run(command, env=app.env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"svcd: starting {python} did not end within 4 s; ")
    assert "what it does just now" in done.stderr
    assert_clean(app)


def test_a_port_in_use_names_who_holds_it(make_app: MakeApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        app = make_app(GOOD, entry="Counter", options=("--set", f"app.http={address}"))
        assert refused(app).startswith(f"svcd: {address} is already in use by ")
        detached = app.svcd("up", "-d", code=1)
        assert detached.stderr.startswith(f"svcd: {address} is already in use by ")
        assert_clean(app)


INITS = {
    "raises": (
        'raise ValueError("no model")',
        ("init failed: ValueError: no model", "in __init__", 'raise ValueError("no model")'),
    ),
    "exits": ("raise SystemExit(3)", ("init failed: SystemExit: 3",)),
    "vanishes": ("import os; os._exit(7)", ("exited with status 7",)),
    "crashes": ("import ctypes; ctypes.string_at(0)", ("killed by SIGSEGV", "Segmentation fault", "in __init__")),
    "never returns": (
        "import time; time.sleep(1000)",
        ("not ready within its start limit of 2 s", "(most recent call first)", "in __init__"),
    ),
}
ONE_SERVICE = """
    import svcd

    @svcd.service
    class Other:
        @svcd.api
        def ping(self) -> int:
            return 1

    @svcd.service
    class Words:
        def __init__(self) -> None:
            {init}

        @svcd.on_startup
        def warm(self) -> None:
            {startup}

        @svcd.api
        def split(self) -> int:
            return 1

    @svcd.service
    class Counter:
        other = svcd.depends(Other)
        words = svcd.depends(Words)

        @svcd.api
        def count(self) -> int:
            return 1
"""
SHORT_START = "[services.Words]\nstart_timeout = 2\n"
"""Long enough for svcd's own imports on a machine with much to do, which it includes."""


@pytest.mark.parametrize("name", INITS)
def test_a_service_that_cannot_be_made_is_shown_once_with_the_users_own_frames(make_app: MakeApp, name: str) -> None:
    line, expected = INITS[name]
    toml = SHORT_START if name == "never returns" else ""
    app = make_app(ONE_SERVICE.format(init=line, startup="pass"), toml, entry="Counter")
    app.up(wait=False)
    assert app.daemon is not None
    app.processes()
    assert app.daemon.wait(PATIENCE) == 1
    assert_clean(app)
    assert_told(app.stderr, expected)
    assert app.stderr.splitlines()[-1].startswith(
        "stopping: it cannot become ready: Words/0: 5 failures in a row; last: "
    )


@pytest.mark.parametrize("name", ["raises", "crashes"])
def test_up_wait_shows_the_same_and_returns_when_all_is_gone(make_app: MakeApp, name: str) -> None:
    line, expected = INITS[name]
    app = make_app(ONE_SERVICE.format(init=line, startup="pass"), entry="Counter")
    done = app.svcd("up", "-d", "--wait", code=1)
    assert not app.runtime.exists()
    app.assert_gone()
    assert_told(done.stderr, expected)
    assert "svcd: it cannot become ready and was stopped: Words/0: 5 failures in a row; last: " in done.stderr
    assert done.stderr.endswith("`svcd logs` shows what the replicas printed\n")
    assert expected[1] in app.svcd("logs", "Words").stdout


def test_a_startup_hook_that_raises(make_app: MakeApp) -> None:
    app = make_app(ONE_SERVICE.format(init="pass", startup='raise OSError("no disk")'), entry="Counter")
    assert_told(refused(app), ("startup failed: OSError: no disk", "in warm", 'raise OSError("no disk")'))


def assert_told(said: str, expected: tuple[str, ...]) -> None:
    """All of it is there; a traceback only once, and of user code alone."""
    for part in expected:
        assert part in said
    assert said.count("Traceback (most recent call last)") + said.count("Fatal Python error") <= 1
    assert "(most recent call first)" in said or "site-packages" not in said, "stacks of all threads have ours as well"


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--nothing"),
        ("nothing",),
        ("call",),
        ("call", "Words"),
        ("up", "--timeout", "5"),
        ("up", "--wait", "--timeout", "soon"),
        ("logs", "-n", "many"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(make_app: MakeApp, arguments: tuple[str, ...]) -> None:
    app = make_app(GOOD, entry="Counter")
    command, *rest = arguments
    options = [] if command == "nothing" else rest
    if command == "nothing":
        app.options = ()
    done = app.svcd(command, *options, code=2)
    assert done.stdout == ""
    assert done.stderr.rstrip()
    assert not app.runtime.exists()
