"""Nothing is left of an app that outlived its daemon, whoever ends it and whenever."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from adoption_app import SERVICE, TOML, kill_daemon
from chaos_apps import SOURCES, bring_to, toml_of

from leftovers import Deadline
from running import PATIENCE

if TYPE_CHECKING:
    from conftest import MakeApp


@pytest.mark.parametrize(
    "victims", [("keeper",), ("guard",), ("guard", "keeper"), ("daemon", "keeper"), ("daemon", "guard")]
)
def test_after_a_take_over_nothing_is_left_either(make_app: MakeApp, victims: tuple[str, ...]) -> None:
    """Among what there is are strays that have left their parents, their session and their environment."""
    app = make_app(SOURCES["ready"], 'orphan_grace = "30s"\n', entry="Entry")
    bring_to(app, "ready")
    app.processes()
    guard, keeper = app.guard_and_keeper()
    kill_daemon(app)
    app.up()
    app.processes()
    assert app.daemon is not None
    known = {"guard": guard, "keeper": keeper, "daemon": app.daemon.pid}
    for victim in victims:
        os.kill(known[victim], signal.SIGKILL)
    app.assert_gone(within=Deadline.promised())
    assert app.daemon.wait(PATIENCE) == (-signal.SIGKILL if "daemon" in victims else 1)


def test_when_the_grace_runs_out_everything_ends(make_app: MakeApp) -> None:
    app = make_app(SERVICE, 'orphan_grace = "4s"\n', entry="Entry").up()
    kill_daemon(app)
    assert app.post("work", {"x": 2}) == (200, 4)
    app.assert_gone(within=Deadline.promised(after=4.0))


@pytest.mark.parametrize("phase", SOURCES)
def test_nothing_is_left_after_the_grace_whatever_the_app_was_doing(make_app: MakeApp, phase: str) -> None:
    app = make_app(SOURCES[phase], 'orphan_grace = "0.5s"\n' + toml_of(phase), entry="Entry")
    bring_to(app, phase)
    kill_daemon(app)
    app.assert_gone(within=Deadline.promised(after=0.5))


BEFORE = [("daemon", "guard"), ("daemon", "keeper"), ("guard", "keeper")]


@pytest.mark.parametrize("victims", BEFORE, ids="+".join)
def test_a_grace_protects_from_the_end_of_the_daemon_alone(make_app: MakeApp, victims: tuple[str, ...]) -> None:
    app = make_app(SOURCES["ready"], 'orphan_grace = "100s"\n', entry="Entry")
    bring_to(app, "ready")
    assert app.daemon is not None
    app.processes()
    guard, keeper = app.guard_and_keeper()
    known = {"guard": guard, "keeper": keeper, "daemon": app.daemon.pid}
    for victim in victims:
        os.kill(known[victim], signal.SIGKILL)
    app.assert_gone(within=Deadline.promised())


def test_a_keeper_that_hangs_is_ended_by_its_guard_after_the_grace(make_app: MakeApp) -> None:
    app = make_app(SERVICE, 'orphan_grace = "0.5s"\n', entry="Entry").up()
    _, keeper = app.guard_and_keeper()
    os.kill(keeper, signal.SIGSTOP)
    kill_daemon(app)
    app.assert_gone(within=Deadline.promised(after=0.5))


def test_down_ends_what_goes_on_without_a_daemon(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up()
    kill_daemon(app)
    assert app.svcd("down").stdout == "its daemon was gone; ended the rest at once\n"
    app.assert_gone(within=Deadline.promised())
    assert not app.runtime.exists()
