"""`kill -9` of any one or two of daemon, guard and keeper, whatever the app is doing: nothing is left of it.

Nor is there anything that would hinder the next start.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from chaos_apps import SOURCES, bring_to, toml_of

from leftovers import Deadline
from running import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MakeApp
    from running import RunningApp

VICTIMS = [
    ("daemon",),
    ("guard",),
    ("keeper",),
    ("daemon", "guard"),
    ("daemon", "keeper"),
    ("guard", "keeper"),
]


def kill(app: RunningApp, victims: tuple[str, ...]) -> float:
    """SIGKILL these at once; return when."""
    assert app.daemon is not None
    app.processes()  # from now on they are known by pid
    guard, keeper = app.guard_and_keeper()
    pids = {"daemon": app.daemon.pid, "guard": guard, "keeper": keeper}
    began = time.monotonic()
    for name in victims:
        os.kill(pids[name], signal.SIGKILL)
    return began


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
@pytest.mark.parametrize("phase", SOURCES)
def test_nothing_is_left(
    make_app: MakeApp, measured: Callable[[str, float], None], phase: str, victims: tuple[str, ...]
) -> None:
    app = make_app(SOURCES[phase], toml_of(phase), entry="Entry")
    bring_to(app, phase)
    began = kill(app, victims)
    app.assert_gone(within=Deadline.promised())
    measured(f"kill -9 while {phase}: nothing left after", time.monotonic() - began)
    assert app.daemon is not None
    code = app.daemon.wait(PATIENCE)
    if "daemon" in victims:
        assert code == -signal.SIGKILL
    else:
        assert code == 1
        assert app.stderr.splitlines()[-1].startswith("svcd: the keeper has died"), app.stderr
        assert not app.runtime.exists()
    if phase == "ready":
        app.up()
        assert app.post("ping") == (200, b"pong")
        assert {row["state"] for row in app.rows()} == {"ready"}
