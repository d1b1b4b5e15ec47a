"""The life of a replica as one table: for every state and every happening, the next state and the action to take.

Law: the table is total. A pair that means nothing is written down as `IGNORE`, so that a happening nobody thought of
is a failing test and not a surprise at night. The runtime looks pairs up and performs the actions; it decides nothing
itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """What `svcd ps` shows."""

    PENDING = "pending"
    """Waits for resources or for its dependencies, with the reason."""
    STARTING = "starting"
    """A process was ordered; it has not said ready."""
    READY = "ready"
    """It takes calls."""
    UNREADY = "unready"
    """It was ready and its process runs, but callers are kept away: its hook says so, or it gives no sign of life."""
    DRAINING = "draining"
    """On its way to stopped: no new calls, then SIGTERM, then SIGKILL."""
    STOPPED = "stopped"
    """Nothing of it is left and nothing more will happen."""
    BACKOFF = "backoff"
    """It ended without being asked to; the next attempt is being waited for."""
    FAILED = "failed"
    """The restart budget is spent; calls to it fail at once with the reason."""
    DONE = "done"
    """It did what it was to do and ended: a oneshot."""


class Happening(StrEnum):
    """What can happen to a replica."""

    PLACED = "placed"
    """Its resources were granted and its dependencies allow it to start."""
    SPAWNED = "spawned"
    """The process was executed."""
    HELD = "held"
    """The process has imported its code and waits for its dependencies."""
    BEGUN = "begun"
    """Its dependencies are ready; its own initialisation begins."""
    READY = "ready"
    """The process said so."""
    EXITED = "exited"
    """The main process ended, or could not be started."""
    FINISHED = "finished"
    """The main process ended as it was to: there is nothing more for it to do."""
    GONE = "gone"
    """Nothing that the process started is left."""
    OVERDUE = "overdue"
    """The alarm of the present state went off."""
    SPENT = "spent"
    """The restart budget allows no further attempt."""
    STOP = "stop"
    """It is not wanted any longer."""
    DRAINED = "drained"
    """No call is in flight in it."""
    RESTART = "restart"
    """It is to end and to come back, with its failures forgotten."""
    RETURN = "return"
    """As GONE, of one that is to come back."""
    LOST = "lost"
    """Its control channel ended: it cannot be told where its dependencies are, so it is as good as dead."""
    UNREADY = "unready"
    """Something ails it, and calls are better made elsewhere. READY follows when that is over."""
    WEDGED = "wedged"
    """What ails it does not pass, and nobody waits for a call in it any longer."""
    ADOPTED = "adopted"
    """A process of it runs already, which an earlier daemon had started."""


class Action(StrEnum):
    """What the runtime does on a transition."""

    REQUEST = "request"
    """Ask for resources; PLACED follows when they are granted."""
    SPAWN = "spawn"
    """Order a process; SPAWNED follows, or EXITED when it cannot be executed. That has no limit."""
    SUSPEND_LIMIT = "suspend limit"
    """Stop the start limit: the process waits for others."""
    BEGIN_LIMIT = "begin limit"
    """Start the start limit, or start it afresh."""
    ANNOUNCE = "announce"
    """Tell callers that this replica takes calls."""
    WITHDRAW = "withdraw"
    """Tell callers that this replica takes no calls; those in flight go on."""
    ADOPT = "adopt"
    """Take the process that runs for its own; the start limit begins."""
    RECORD_EXIT = "record exit"
    """Remember how it ended, withdraw it from callers, charge the restart budget; SPENT follows when it is used up."""
    COMPLETE = "complete"
    """Remember how it ended and withdraw it from callers; no attempt follows."""
    RELEASE = "release"
    """Give resources back."""
    WAIT_RETRY = "wait for retry"
    """Set the alarm for the next attempt. Its resources stay its own: it comes back on the same GPUs."""
    DRAIN = "drain"
    """Withdraw it from callers and ask it to finish its calls; DRAINED follows, or the alarm."""
    TERMINATE = "terminate"
    """SIGTERM; the stop limit begins."""
    ESCALATE = "escalate"
    """The next harder means: SIGTERM after the drain limit, SIGKILL to the whole tree after the stop limit."""
    EXPIRE = "expire"
    """Have it write down where it hangs and set a short alarm; at the second time SIGKILL to the whole tree."""
    AWAIT_END = "await its end"
    """It is as good as dead, and mostly is about to end: give it a moment for its last words; then SIGKILL."""
    RENEW = "renew"
    """Forget earlier failures and ask for resources; those it holds it keeps."""
    FINISH = "finish"
    """There may be no process left to wait for; GONE follows at once when there is none."""


class Transition(NamedTuple):
    """One cell of the table."""

    state: State
    action: Action


IGNORE = None
"""The happening means nothing in this state."""

_S, _H, _A = State, Happening, Action

TABLE: dict[State, dict[Happening, Transition | None]] = {
    _S.PENDING: {
        _H.PLACED: Transition(_S.STARTING, _A.SPAWN),
        _H.SPAWNED: IGNORE,
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: IGNORE,  # a word of an earlier process that arrives late
        _H.EXITED: IGNORE,
        _H.FINISHED: IGNORE,
        _H.GONE: IGNORE,
        _H.OVERDUE: IGNORE,  # waiting for resources has no limit
        _H.SPENT: IGNORE,
        _H.STOP: Transition(_S.DRAINING, _A.FINISH),
        _H.DRAINED: IGNORE,
        _H.RESTART: IGNORE,  # it is about to start anyway
        _H.RETURN: IGNORE,
        _H.LOST: IGNORE,
        _H.UNREADY: IGNORE,
        _H.WEDGED: IGNORE,
        _H.ADOPTED: Transition(_S.STARTING, _A.ADOPT),
    },
    _S.STARTING: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: Transition(_S.STARTING, _A.BEGIN_LIMIT),
        _H.HELD: Transition(_S.STARTING, _A.SUSPEND_LIMIT),
        _H.BEGUN: Transition(_S.STARTING, _A.BEGIN_LIMIT),
        _H.READY: Transition(_S.READY, _A.ANNOUNCE),
        _H.EXITED: Transition(_S.BACKOFF, _A.RECORD_EXIT),
        _H.FINISHED: Transition(_S.DONE, _A.COMPLETE),
        _H.GONE: IGNORE,  # the keeper reports EXITED first
        _H.OVERDUE: Transition(_S.STARTING, _A.EXPIRE),  # in the end EXITED follows and finds the reason noted
        _H.SPENT: IGNORE,
        _H.STOP: Transition(_S.DRAINING, _A.TERMINATE),
        _H.DRAINED: IGNORE,
        _H.RESTART: Transition(_S.DRAINING, _A.TERMINATE),
        _H.RETURN: IGNORE,
        _H.LOST: Transition(_S.STARTING, _A.AWAIT_END),
        _H.UNREADY: IGNORE,
        _H.WEDGED: IGNORE,
        _H.ADOPTED: IGNORE,
    },
    _S.READY: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: IGNORE,
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: IGNORE,
        _H.EXITED: Transition(_S.BACKOFF, _A.RECORD_EXIT),
        _H.FINISHED: Transition(_S.DONE, _A.COMPLETE),
        _H.GONE: IGNORE,
        _H.OVERDUE: Transition(_S.READY, _A.EXPIRE),  # it lost its control channel and lives on
        _H.SPENT: IGNORE,
        _H.STOP: Transition(_S.DRAINING, _A.DRAIN),
        _H.DRAINED: IGNORE,
        _H.RESTART: Transition(_S.DRAINING, _A.DRAIN),
        _H.RETURN: IGNORE,
        _H.LOST: Transition(_S.READY, _A.AWAIT_END),  # EXITED follows and says how it ended
        _H.UNREADY: Transition(_S.UNREADY, _A.WITHDRAW),
        _H.WEDGED: Transition(_S.UNREADY, _A.EXPIRE),
        _H.ADOPTED: IGNORE,
    },
    _S.UNREADY: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: IGNORE,
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: Transition(_S.READY, _A.ANNOUNCE),
        _H.EXITED: Transition(_S.BACKOFF, _A.RECORD_EXIT),
        _H.FINISHED: Transition(_S.DONE, _A.COMPLETE),
        _H.GONE: IGNORE,
        _H.OVERDUE: Transition(_S.UNREADY, _A.EXPIRE),  # in the end EXITED follows and finds the reason noted
        _H.SPENT: IGNORE,
        _H.STOP: Transition(_S.DRAINING, _A.DRAIN),
        _H.DRAINED: IGNORE,
        _H.RESTART: Transition(_S.DRAINING, _A.DRAIN),
        _H.RETURN: IGNORE,
        _H.LOST: Transition(_S.UNREADY, _A.AWAIT_END),
        _H.UNREADY: IGNORE,
        _H.WEDGED: Transition(_S.UNREADY, _A.EXPIRE),
        _H.ADOPTED: IGNORE,
    },
    _S.DRAINING: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: IGNORE,  # it was told to end before it ran
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: IGNORE,
        _H.EXITED: Transition(_S.DRAINING, _A.RECORD_EXIT),
        _H.FINISHED: Transition(_S.DRAINING, _A.RECORD_EXIT),
        _H.GONE: Transition(_S.STOPPED, _A.RELEASE),
        _H.OVERDUE: Transition(_S.DRAINING, _A.ESCALATE),
        _H.SPENT: IGNORE,
        _H.STOP: IGNORE,
        _H.DRAINED: Transition(_S.DRAINING, _A.TERMINATE),
        _H.RESTART: IGNORE,  # it comes back already, or is not wanted any longer
        _H.RETURN: Transition(_S.PENDING, _A.RENEW),
        _H.LOST: IGNORE,
        _H.UNREADY: IGNORE,
        _H.WEDGED: IGNORE,
        _H.ADOPTED: IGNORE,
    },
    _S.STOPPED: dict.fromkeys(_H, IGNORE),
    _S.BACKOFF: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: IGNORE,
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: IGNORE,
        _H.EXITED: IGNORE,
        _H.FINISHED: IGNORE,
        _H.GONE: Transition(_S.BACKOFF, _A.WAIT_RETRY),
        _H.OVERDUE: Transition(_S.PENDING, _A.REQUEST),
        _H.SPENT: Transition(_S.FAILED, _A.FINISH),
        _H.STOP: Transition(_S.DRAINING, _A.FINISH),
        _H.DRAINED: IGNORE,
        _H.RESTART: Transition(_S.DRAINING, _A.FINISH),
        _H.RETURN: IGNORE,
        _H.LOST: IGNORE,
        _H.UNREADY: IGNORE,
        _H.WEDGED: IGNORE,
        _H.ADOPTED: IGNORE,
    },
    _S.FAILED: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: IGNORE,
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: IGNORE,
        _H.EXITED: IGNORE,
        _H.FINISHED: IGNORE,
        _H.GONE: Transition(_S.FAILED, _A.RELEASE),
        _H.OVERDUE: IGNORE,
        _H.SPENT: IGNORE,
        _H.STOP: Transition(_S.DRAINING, _A.FINISH),
        _H.DRAINED: IGNORE,
        _H.RESTART: Transition(_S.DRAINING, _A.FINISH),
        _H.RETURN: IGNORE,
        _H.LOST: IGNORE,
        _H.UNREADY: IGNORE,
        _H.WEDGED: IGNORE,
        _H.ADOPTED: IGNORE,
    },
    _S.DONE: {
        _H.PLACED: IGNORE,
        _H.SPAWNED: IGNORE,
        _H.HELD: IGNORE,
        _H.BEGUN: IGNORE,
        _H.READY: IGNORE,
        _H.EXITED: IGNORE,
        _H.FINISHED: IGNORE,
        _H.GONE: Transition(_S.DONE, _A.RELEASE),
        _H.OVERDUE: IGNORE,
        _H.SPENT: IGNORE,
        _H.STOP: Transition(_S.DRAINING, _A.FINISH),
        _H.DRAINED: IGNORE,
        _H.RESTART: Transition(_S.DRAINING, _A.FINISH),
        _H.RETURN: IGNORE,
        _H.LOST: IGNORE,
        _H.UNREADY: IGNORE,
        _H.WEDGED: IGNORE,
        _H.ADOPTED: IGNORE,
    },
}


def step(state: State, happening: Happening) -> Transition | None:
    """Return the transition for a pair, or None when it is to be ignored."""
    return TABLE[state][happening]
