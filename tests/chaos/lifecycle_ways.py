"""How a replica is brought to every transition of the lifecycle table, so that its daemon can die just there.

Each state has a way that leads to it. A transition that happens by itself has one of its own (NATURAL); for all others
the happening is posted when the state is reached. So a transition that is added to the table is covered, or its test
fails for never getting there.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from svcd.policy.lifecycle import TABLE, Happening, State

if TYPE_CHECKING:
    from collections.abc import Mapping

_S, _H = State, Happening
Cell = tuple[State, Happening]

CELLS: list[Cell] = [(state, each) for state, row in TABLE.items() for each, to in row.items() if to is not None]
"""All that can happen."""

_SERVICE = """
    import os
    import threading
    import time
    from pathlib import Path

    import svcd

    SCENE = os.environ.get("SCENE", "")

    def wait(note):
        while not (Path(__file__).parent / note).exists():
            time.sleep(0.01)

    def die():
        wait("ready")
        os._exit(7)

    def leave_a_stray():
        # Two forks and setsid; with an empty environment nothing but descent tells whose it is.
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.execve("/bin/sleep", ["sleep", "1000"], {})

    @svcd.service
    class Slow:
        def __init__(self) -> None:
            if SUBJECT_WAITS:
                wait("held")

        @svcd.api
        async def ping(self) -> str:
            return "pong"

    @svcd.service
    class Subject:
        slow = svcd.depends(Slow)

        def __init__(self) -> None:
            leave_a_stray()
            if SCENE == "crashes":
                os._exit(7)
            if SCENE == "starts":
                time.sleep(1000)

        @svcd.on_startup
        def begin(self) -> None:
            if SCENE == "dies":
                threading.Thread(target=die, daemon=True).start()

        @svcd.api
        async def ping(self) -> str:
            return "pong"

        @svcd.on_shutdown
        def end(self) -> None:
            if SCENE == "lingers":
                time.sleep(1000)

    @svcd.service
    class Entry:
        subject = svcd.depends(Subject, optional=True)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""
_ENTRY_OF_PROGRAM = """
    import svcd

    @svcd.service
    class Entry:
        subject = svcd.depends("Subject", optional=True)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""
_STRAY = "(setsid env -i sleep 1000 &)"
_PROGRAMS = {
    "oneshot": ("oneshot", f"{_STRAY}; exit 0"),
    "finishes": ("service", f"{_STRAY}; until [ -e ready ]; do sleep 0.02; done"),
    "finishes when told": ("service", f"{_STRAY}; trap 'exit 0' TERM; while :; do sleep 0.05; done"),
}
_LIMITS = {"starts": 'start_timeout = "500ms"', "lingers": 'stop_timeout = "200ms"'}


class Way(NamedTuple):
    """What runs, and what its subject is ordered to do when it enters a state."""

    scene: str
    orders: Mapping[State, Happening] = {}

    @property
    def service(self) -> str:
        """The app's source."""
        waits = f"\n    SUBJECT_WAITS = {self.scene == 'waits'}\n"
        return _ENTRY_OF_PROGRAM if self.scene in _PROGRAMS else waits + _SERVICE

    def toml(self, grace: str) -> str:
        """The configuration that goes with it; grace: "" for none."""
        lines = [f'orphan_grace = "{grace}"'] if grace else []
        lines += ["[services.Subject]", 'resources = { memory = "256Mi" }', 'drain_timeout = "200ms"']
        if self.scene in _PROGRAMS:
            kind, script = _PROGRAMS[self.scene]
            lines += [f'command = ["sh", "-c", "{script}"]']
            lines += ['type = "oneshot"'] if kind == "oneshot" else ['restart = "on-failure"']
        else:
            lines += [f'envs = {{ SCENE = "{self.scene}" }}', _LIMITS.get(self.scene, "")]
        return textwrap.dedent("\n".join(lines)) + "\n"


REACH: dict[State, Way] = {
    _S.PENDING: Way("crashes"),  # on its way back from backoff
    _S.STARTING: Way("starts"),
    _S.READY: Way("serves"),
    _S.UNREADY: Way("serves", {_S.READY: _H.UNREADY}),
    _S.DRAINING: Way("lingers", {_S.READY: _H.STOP}),
    _S.BACKOFF: Way("crashes"),
    _S.FAILED: Way("crashes"),
    _S.DONE: Way("oneshot"),
}
"""How each state is come to; nothing happens in STOPPED."""

NATURAL: dict[Cell, Way] = {
    (_S.PENDING, _H.PLACED): Way("serves"),
    (_S.PENDING, _H.ADOPTED): Way("serves"),
    (_S.STARTING, _H.SPAWNED): Way("serves"),
    (_S.STARTING, _H.HELD): Way("waits"),
    (_S.STARTING, _H.BEGUN): Way("waits"),
    (_S.STARTING, _H.READY): Way("serves"),
    (_S.STARTING, _H.EXITED): Way("crashes"),
    (_S.STARTING, _H.FINISHED): Way("oneshot"),
    (_S.STARTING, _H.OVERDUE): Way("starts"),
    (_S.READY, _H.EXITED): Way("dies"),
    (_S.READY, _H.FINISHED): Way("finishes"),
    (_S.READY, _H.OVERDUE): Way("serves", {_S.READY: _H.LOST}),
    (_S.UNREADY, _H.EXITED): Way("dies", {_S.READY: _H.UNREADY}),
    (_S.UNREADY, _H.FINISHED): Way("finishes", {_S.READY: _H.UNREADY}),
    (_S.UNREADY, _H.OVERDUE): Way("serves", {_S.READY: _H.WEDGED}),
    (_S.DRAINING, _H.EXITED): Way("serves", {_S.READY: _H.STOP}),
    (_S.DRAINING, _H.FINISHED): Way("finishes when told", {_S.READY: _H.STOP}),
    (_S.DRAINING, _H.GONE): Way("serves", {_S.READY: _H.STOP}),
    (_S.DRAINING, _H.OVERDUE): Way("lingers", {_S.READY: _H.STOP}),
    (_S.DRAINING, _H.DRAINED): Way("serves", {_S.READY: _H.STOP}),
    (_S.DRAINING, _H.RETURN): Way("serves", {_S.READY: _H.RESTART}),
    (_S.BACKOFF, _H.GONE): Way("crashes"),
    (_S.BACKOFF, _H.OVERDUE): Way("crashes"),
    (_S.BACKOFF, _H.SPENT): Way("crashes"),
    (_S.FAILED, _H.GONE): Way("crashes"),
    (_S.DONE, _H.GONE): Way("oneshot"),
}
"""What happens by itself."""


def way_to(cell: Cell) -> Way:
    """Return how the subject comes to a transition."""
    state, happening = cell
    if cell in NATURAL:
        return NATURAL[cell]
    reach = REACH[state]
    return Way(reach.scene, {**reach.orders, state: happening})
