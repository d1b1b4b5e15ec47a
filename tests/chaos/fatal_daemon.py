"""svcd, except that it dies at one transition of one replica, and takes its keeper with it if it is told to.

`python fatal_daemon.py PLAN python -m svcd up ...`, the plan as JSON: see `Fate`. Everything that runs is the real
thing; only the instant is chosen here, and orders of an operator, or words of a replica, are given in the midst of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.cli.main import main
from svcd.host.processes import all_pids, descendants, environment_of, read_stat
from svcd.policy.lifecycle import Happening, State
from svcd.runtime import replica as replicas

if TYPE_CHECKING:
    from svcd.policy.lifecycle import Action, Transition
    from svcd.runtime.replica import Replica

MARK = "SVCD_TEST_MARK"
SUBJECT = "Subject"


class Fate:
    """What the plan says, and how far it has come."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.at = State(plan["state"]), Happening(plan["happening"])
        self.victims: list[str] = plan["victims"]
        self.delay: float | None = plan["delay"]
        self.record = Path(plan["record"])
        self.orders = {State(state): Happening(happening) for state, happening in plan["orders"].items()}
        self.now: tuple[State, Happening] | None = None

    def take(self) -> None:
        """Install it in the state machine of replicas."""
        step, actions, enter = replicas.step, replicas.Replica.ACTIONS, replicas.Replica._enter

        def noted(state: State, happening: Happening) -> Transition | None:
            self.now = state, happening
            return step(state, happening)

        def performed(action: Action, replica: Replica) -> None:
            is_it = replica.spec.name == SUBJECT and self.now == self.at
            if self.now == (State.STARTING, Happening.HELD) and not is_it:
                self.note("held")
            if is_it and self.delay is None:
                self.strike()
            actions[action](replica)
            if is_it and self.delay is not None:
                threading.Timer(self.delay, self.strike).start()

        def entered(replica: Replica, state: State, reason: str) -> None:
            enter(replica, state, reason)
            if replica.spec.name != SUBJECT:
                return
            if order := self.orders.pop(state, None):
                replica.post(order, "by order")
            if state is State.READY:
                self.note("ready")

        replicas.step = noted
        replicas.Replica.ACTIONS = {action: partial(performed, action) for action in actions}
        replicas.Replica._enter = entered  # type: ignore[method-assign]  # that is what this program is for

    def note(self, what: str) -> None:
        """Let the subject, or who it waits for, go on."""
        (self.record.parent / what).touch()

    def strike(self) -> None:
        """Note all that there is below the guard, and kill. Only the first counts."""
        if self.record.exists():
            return
        keeper, guard = _keeper_and_guard()
        stats = [stat for pid in (guard, *descendants(guard)) if (stat := read_stat(pid))]
        self.record.write_text(json.dumps([[stat.pid, stat.start] for stat in stats]))
        if "keeper" in self.victims:
            os.kill(keeper, signal.SIGKILL)
        if "daemon" in self.victims:
            os.kill(os.getpid(), signal.SIGKILL)


def _keeper_and_guard() -> tuple[int, int]:
    ours = [pid for pid in all_pids() if environment_of(pid, MARK) == os.environ[MARK]]
    keepers = [pid for pid in ours if b"svcd.keeper" in _command(pid)]
    parents = {pid: stat.parent for pid in keepers if (stat := read_stat(pid))}
    return next((pid, parent) for pid, parent in parents.items() if parent in keepers)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # one of the others has ended meanwhile
        return b""


if __name__ == "__main__":
    random.random = lambda: 0.0  # no waiting in backoff
    Fate(json.loads(sys.argv.pop(1))).take()
    del sys.argv[1 : sys.argv.index("up")]  # it is svcd itself
    main()
