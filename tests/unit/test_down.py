"""What `svcd down` says while it waits, against a daemon that answers as it is told to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from svcd.cli.down import _stop
from svcd_ipc.errors import ReplicaLost

if TYPE_CHECKING:
    import pytest

    from svcd.link.blocking import BlockingClient


class Daemon:
    """Stops slowly: at each look it says what is scripted, then it has ended."""

    def __init__(self, *looks: list[dict[str, Any]]) -> None:
        self._looks = list(looks)
        self._is_gone = False

    def call(self, api: str, _args: dict[str, Any], *, timeout: float) -> Any:
        """Answer `down`, and `ps` by the script."""
        assert timeout > 0
        if api == "down":
            return None
        if self._looks:
            return self._looks.pop(0)
        self._is_gone = True
        raise ReplicaLost("the daemon has closed the connection")

    def wait_closed(self, _timeout: float) -> bool:
        """Whether it has ended."""
        return self._is_gone


def draining(service: str) -> dict[str, Any]:
    """A row of `svcd ps`."""
    since = "2026-11-21T17:00:00+00:00"
    return {"service": service, "replica": 0, "state": "draining", "in_flight": 0, "reason": "", "since": since}


def test_an_end_between_two_looks_is_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon([draining("Slow")], [], [])
    assert _stop(cast("BlockingClient", daemon), math.inf) == ""
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in told] == [
        "waiting for Slow/0",
        "waiting for the daemon to end what is left",
    ]


def test_who_is_waited_for_is_told_again_when_it_changes_and_not_with_each_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(1, 100))
    monkeypatch.setattr("svcd.cli.down.age", lambda _since: f"{next(seconds)}s")
    one, busy = draining("Slow"), draining("Slow") | {"in_flight": 2}
    assert _stop(cast("BlockingClient", Daemon([busy], [busy], [busy], [one], [one])), math.inf) == ""
    assert capsys.readouterr().err.splitlines() == [
        "waiting for Slow/0 (draining for 1s, 2 calls in flight)",
        "waiting for Slow/0 (draining for 4s)",
    ]
