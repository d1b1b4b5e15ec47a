"""Commands with words, numbers and streams that nobody means: none ends in a traceback, none stops the daemon."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from running import PATIENCE, SVCD, RunningApp, write_app
from svcd.link.blocking import BlockingClient
from svcd_ipc.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = """
    import svcd

    @svcd.service
    class Entry:
        @svcd.api
        async def echo(self, text: str) -> str:
            return text

        @svcd.api
        async def size(self, data: bytes) -> int:
            return len(data)
"""
MOST = 1000


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with RunningApp(write_app(tmp_path_factory.mktemp("odd") / "app", SERVICE, entry="Entry")) as app:
        yield app.up()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("call", "Entry.echo", "--timeout", "nan"), 2, "expected a duration such as"),
        (("call", "Entry.echo", "--timeout", "inf"), 2, "expected a duration such as"),
        (("call", "Entry.echo", "--timeout", "-1"), 2, "expected a duration such as"),
        (("call", "Entry.echo", "--timeout", "1e300"), 2, "expected a duration of at most 100 years"),
        (("restart", "Entry", "--timeout", "nan"), 2, "expected a duration such as"),
        (("down", "--timeout", "nan"), 2, "expected a duration such as"),
        (("up", "--wait", "--timeout", "inf"), 2, "expected a duration such as"),
        (("restart", f"Entry/{10**22}"), 2, "is not SERVICE or SERVICE/N"),
        (("env", f"Entry/{10**22}"), 2, "is not SERVICE or SERVICE/N"),
        (("scale", f"Entry={MOST + 1}"), 2, f"with N from 1 to {MOST}"),
        (("scale", f"Entry={10**22}"), 2, f"with N from 1 to {MOST}"),
    ],
)
def test_it_is_told_what_is_wrong(app: RunningApp, words: tuple[str, ...], code: int, said: str) -> None:
    done = app.svcd(*words, code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_daemon_itself_refuses_more_replicas_than_any_machine_runs(app: RunningApp) -> None:
    with BlockingClient(app.runtime / "control.sock", {"role": "test"}) as daemon:
        for replicas in (0, MOST + 1, 10**9):
            with pytest.raises(InvalidArgument, match=f"from 1 to {MOST}; found {replicas}"):
                daemon.call("scale", {"service": "Entry", "replicas": replicas}, timeout=PATIENCE)
    assert len(app.rows()) == 2


def test_bytes_of_any_kind_are_a_body(app: RunningApp) -> None:
    """What a command line holds in another encoding arrives as it was typed, in every locale."""
    command = [*SVCD, "call", *app.options]
    octets = ("--type", "application/octet-stream")
    for locale in ("C", "C.UTF-8"):
        env = {**app.env, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        size = subprocess.run(
            [*command, "Entry.size", b"\xff\xc3\xbc", *octets], env=env, capture_output=True, check=True
        )
        assert size.stdout == b"3\n"
        text = subprocess.run(
            [*command, "Entry.echo", '{"text": "☃"}'.encode()], env=env, capture_output=True, check=True
        )
        assert text.stdout == "☃\n".encode()


def test_streams_that_were_closed_before_it_began(app: RunningApp) -> None:
    def said(line: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {line}', "sh", *SVCD, "call", *app.options, "Entry.size", "-", "--type", "a/b"],
            env=app.env,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        assert done.stderr == b""
        return done.stdout.decode()

    assert said("<&-") == "0\n"
    assert said(">&- </dev/null") == ""
    assert said("2>&- </dev/null") == "0\n"
    assert said("<&- >&- 2>&-") == ""
