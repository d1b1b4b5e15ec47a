"""One replica: a single task that takes happenings one by one, looks them up in the lifecycle table and acts.

Everybody else only posts happenings; nobody else changes a replica's state. Posting never blocks.
"""

from __future__ import annotations

import math
import time
from collections import deque
from signal import SIGKILL
from typing import TYPE_CHECKING, ClassVar

import trio

from svcd.policy.lifecycle import Action, Happening, State, step
from svcd.policy.restart import BUDGET, History
from svcd.runtime.attempt import Attempt
from svcd.values.commands import Restart
from svcd.values.events import Change
from svcd.values.exits import describe_exit, describe_oom
from svcd.values.records import plain_lines
from svcd.values.secrets import veil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.policy.placement import Assignment
    from svcd.runtime.surroundings import Surroundings
    from svcd.values.orders import Exited
    from svcd.values.specs import ServiceSpec
    from svcd_ipc.channel import Channel


LAST_WORDS = 0.5
"""Seconds that a process has to write down where it hangs, or why it ends, before it is killed."""
KILL_LIMIT = 10.0
"""Seconds after SIGKILL that a process which is to go is waited for: only one that sleeps in a driver lives on."""


class Replica:
    """The daemon's view of `Classifier/0`, across all its processes."""

    def __init__(self, spec: ServiceSpec, index: int, surroundings: Surroundings, chance: Callable[[], float]) -> None:
        self.spec, self.index = spec, index
        self.state = State.PENDING
        self.reason = ""
        self.generation = 0
        self.restarts = 0
        self.pid: int | None = None
        self.channel: Channel | None = None
        self.assignment: Assignment | None = None
        self.last_exit: str | None = None
        self.last_lines: tuple[str, ...] = ()
        self.attempt = Attempt()
        """Its present process, or the last one."""
        self.endings: deque[Change] = deque(maxlen=5)
        """The last times that a process ended unasked."""
        self.retry_at: float | None = None
        """When the next attempt is due, in seconds since the epoch; None when none is waited for."""
        self.returns = False
        """Whether it is draining and is to come back."""
        self.is_leaving = False
        """Whether it was told to stop: before its state shows it, and for good."""
        self.secrets: frozenset[str] = frozenset()
        """What must not be told of the present process."""
        self.is_abandoned = False
        """Whether a process of it outlives SIGKILL, and nobody waits for it any longer."""
        self.since = time.time()
        self.news = trio.Event()
        """Set with the next change; take it before looking at what may change."""
        self.stopped = trio.Event()
        self._surroundings = surroundings
        self._chance = chance
        self._history = History()
        self._entered, self._alarm = trio.current_time(), math.inf
        self._ready_for: float | None = None  # seconds the last process had been ready
        self._alive = False  # a process was ordered and Gone has not been heard
        self._post, self._inbox = trio.open_memory_channel[tuple[Happening, str]](math.inf)

    def __repr__(self) -> str:
        """Name, generation and state."""
        return f"<Replica {self.name}#{self.generation} {self.state}>"

    @property
    def name(self) -> str:
        """`Classifier/0`."""
        return f"{self.spec.name}/{self.index}"

    @property
    def failures(self) -> int:
        """How many processes in a row have failed."""
        return self._history.failures

    @property
    def process_id(self) -> str:
        """Id of the present process in orders to the keeper: `Classifier/0#3`."""
        return f"{self.name}#{self.generation}"

    @property
    def is_given_up(self) -> bool:
        """Whether the present process is being ended for a reason."""
        return bool(self.attempt.ended_for)

    def post(self, happening: Happening, reason: str = "") -> None:
        """Tell the replica what happened."""
        if happening is Happening.STOP:
            self.is_leaving, self.returns = True, False
        self._post.send_nowait((happening, reason))

    def exited(self, event: Exited) -> None:
        """Tell the replica how its process ended."""
        attempt, command = self.attempt, self.spec.command
        memory = self.spec.resources.memory
        how = describe_oom(event.code, event.oom, memory) if event.oom else describe_exit(event.code)
        if event.code == 0 and command is None and not attempt.joined.is_set() and not attempt.is_terminated:
            how += f" before it connected: is {self.spec.python} a Python interpreter?"
        self.last_exit = attempt.ended_for or how
        attempt.was_struck |= event.code == -SIGKILL and not event.oom and not attempt.ended_for
        lines = [line for each in event.last_lines for line in plain_lines(each)]
        self.last_lines = tuple(veil(line, self.secrets) for line in lines)
        is_done = command is not None and command.is_done(event.code) and not attempt.ended_for
        self.post(Happening.FINISHED if is_done else Happening.EXITED, attempt.failure or self.last_exit)

    def end(self, reason: str) -> None:
        """Kill the present process for a reason, which is given as that of its end."""
        if self._alive and not self.attempt.ended_for:
            self.attempt.failure = self.attempt.ended_for = reason
            self._surroundings.kill(self)

    def ail(self, cause: str, reason: str) -> None:
        """Keep callers away for a cause; with no reason that cause is over, and without causes they come back."""
        ailments = self.attempt.ailments
        if reason == ailments.get(cause, ""):
            return
        ailments[cause] = reason
        if not reason:
            del ailments[cause]
        told = "; ".join(ailments.values())
        if self.state is State.UNREADY and told:
            self._enter(State.UNREADY, told)
        elif self.state is State.STARTING:
            self.waiting(told)
        else:
            self.post(Happening.UNREADY if told else Happening.READY, told)

    def give_up(self, reason: str, *, is_struck: bool = False) -> None:
        """Replace a process that is beyond help, once it has had the chance to say where it hangs.

        is_struck: Whether it was brought there from outside.
        """
        if self._alive and not self.attempt.ended_for:
            self.attempt.was_struck = is_struck
            self.post(Happening.WEDGED, reason)

    def waiting(self, reason: str) -> None:
        """Say what a pending or starting replica waits for."""
        if reason != self.reason and self.state in {State.PENDING, State.STARTING}:
            self._enter(self.state, reason)

    def recall(self, generation: int, failures: int, last_exit: str | None) -> None:
        """Take over what an earlier daemon knew."""
        self.generation, self.restarts = generation, max(0, generation - 1)
        self._history, self.last_exit = History(failures), last_exit

    def adopt(self, pid: int) -> None:
        """Take over a process that runs already, in place of beginning."""
        self.pid, self._alive = pid, True
        self.post(Happening.ADOPTED, f"adopted, pid {pid}")

    def missed(self, event: Exited | None) -> None:
        """Count an end at which no daemon was there; None where nobody knows how it was."""
        self._history = self._history.failed(None)
        self.last_exit = describe_exit(event.code) if event else "ended while there was no daemon"
        self.last_lines = tuple(event.last_lines) if event else ()

    def begin(self) -> None:
        """Ask for resources for the first time; apart from `run`, so that replicas ask in the order of the services."""
        self._surroundings.request(self)

    async def run(self) -> None:
        """Live until stopped."""
        while self.state is not State.STOPPED:
            happening, reason = await self._next()
            if happening is Happening.GONE and self.returns:
                happening = Happening.RETURN
            transition = step(self.state, happening)
            if transition is None:
                continue
            if happening in {Happening.RESTART, Happening.RETURN}:
                self.returns = happening is Happening.RESTART and not self.is_leaving
            reason = self._cause(happening, reason)
            if transition.state is not self.state:
                self._enter(transition.state, reason)
            self.ACTIONS[transition.action](self)
        self.stopped.set()

    def _cause(self, happening: Happening, reason: str) -> str:
        """Note why the present process is to be ended, where what happens means that; return the reason to show."""
        attempt = self.attempt
        if happening is Happening.WEDGED:
            attempt.failure = attempt.ended_for = reason
        elif happening is Happening.OVERDUE and attempt.is_lost:
            # It may have said why, or have been given up, and be slow to end: as where it has no processor for that.
            attempt.ended_for = attempt.ended_for or "its control channel ended, and it lived on"
            attempt.failure = attempt.failure or attempt.ended_for
        elif happening is Happening.OVERDUE and self.state is State.STARTING:
            reason = attempt.failure = self._late()
        return reason

    def _late(self) -> str:
        is_oneshot = self.spec.command is not None and self.spec.command.is_oneshot
        late = f"not {'done' if is_oneshot else 'ready'} within its start limit of {self.spec.limits.start:g} s"
        return f"{late}: {self.attempt.hint}" if self.attempt.hint else late

    async def _next(self) -> tuple[Happening, str]:
        with trio.move_on_at(self._alarm):
            return await self._inbox.receive()
        self._alarm = math.inf
        return Happening.OVERDUE, ""

    def _enter(self, state: State, reason: str) -> None:
        now = trio.current_time()
        unasked = state in {State.BACKOFF, State.FAILED}
        reason = veil(reason, self.secrets)
        # Its process is ordered in a moment, unless it was adopted.
        is_next = state is State.STARTING and self.state is State.PENDING and not self._alive
        change = Change(
            time=time.time(),
            service=self.spec.name,
            replica=self.index,
            generation=self.generation + is_next,
            before=self.state,
            state=state,
            reason=reason,
            version=self.spec.version,
            pid=self.pid,
            after=now - self._entered,
            last_lines=self.last_lines if unasked else (),
            attempts=self._attempts(state),
        )
        if self.state is not state:
            if self.state is not State.UNREADY:  # it had been ready before that
                self._ready_for = now - self._entered if self.state is State.READY else None
            self._entered, self.since, self._alarm, self.retry_at = now, change.time, math.inf, None
            if state is State.BACKOFF:
                self.endings.append(change)
        self.state, self.reason = state, reason
        self._surroundings.changed(self, change)
        self.news.set()
        self.news = trio.Event()

    def _attempts(self, state: State) -> tuple[int, int]:
        """How many attempts have failed in a row with the one that just did, and how many may."""
        if state is not State.BACKOFF or self.state is State.BACKOFF:
            return 0, 0
        ready_for = trio.current_time() - self._entered if self.state is State.READY else None
        return self._history.failed(ready_for, was_killed=self.attempt.was_struck).failures, BUDGET

    # One method for each action of the table.

    def _announce(self) -> None:
        self.attempt.failure, self.attempt.ended_for, self.attempt.is_expired = None, "", False  # it may have been late
        self.attempt.was_struck = False

    def _withdraw(self) -> None:
        """Nothing more: the change of state said it."""

    def _request(self) -> None:
        self._surroundings.request(self)

    def _spawn(self) -> None:
        self.generation += 1
        self.restarts = self.generation - 1
        self.attempt, self.last_lines = Attempt(), ()
        self._alive = True
        self._surroundings.spawn(self)

    def _begin_limit(self) -> None:
        self._set_alarm(self.spec.limits.start)

    def _suspend_limit(self) -> None:
        self._alarm = math.inf

    def _drain(self) -> None:
        self._set_alarm(self.spec.limits.drain)
        self._surroundings.drain(self)

    def _terminate(self) -> None:
        if self.attempt.is_terminated:
            return
        self.attempt.is_terminated = True
        self._set_alarm(self.spec.limits.stop)
        self._surroundings.terminate(self)

    def _escalate(self) -> None:
        limits = self.spec.limits
        if self.attempt.is_killed:
            self._abandon()
        elif self.attempt.is_terminated:
            self.attempt.is_killed = True
            self._enter(self.state, f"not gone within its stop_timeout of {limits.stop:g} s; killed by SIGKILL")
            self._set_alarm(KILL_LIMIT)
            self._surroundings.kill(self)
        else:
            self._enter(self.state, f"calls still ran after its drain_timeout of {limits.drain:g} s; they are cut off")
            self._terminate()

    def _abandon(self) -> None:
        """Leave what SIGKILL does not end to the kernel. What it holds stays held: a driver may still work on it."""
        left = f"SIGKILL has not ended it for {KILL_LIMIT:g} s (process {self.pid}): it sleeps uninterruptibly"
        if self.returns:
            self._enter(self.state, f"{left}; it comes back when that ends")
            return
        self._enter(self.state, f"{left}; left to the kernel")
        self.is_abandoned = True
        self.post(Happening.GONE)

    def _expire(self) -> None:
        if self.attempt.is_expired:
            self._surroundings.kill(self)
            return
        self.attempt.is_expired = True
        self._set_alarm(LAST_WORDS)
        self._surroundings.ask_where(self)

    def _await_end(self) -> None:
        self.attempt.is_lost = self.attempt.is_expired = True
        self._set_alarm(LAST_WORDS)

    def _record_exit(self) -> None:
        self.pid, self.channel = None, None
        if self.state is State.DRAINING:
            return
        self._history = self._history.failed(self._ready_for, was_killed=self.attempt.was_struck)
        if self.spec.command and self.spec.command.restart is Restart.NEVER:
            self.post(Happening.SPENT, f"{self.reason}, and it is never started again")
        elif self._history.spent:
            self.post(Happening.SPENT, f"{self._history.failures} failures in a row; last: {self.reason}")

    def _complete(self) -> None:
        self.pid, self.channel = None, None

    def _wait_retry(self) -> None:
        self._alive = False
        delay = self._history.delay(self._chance())
        self._set_alarm(delay)
        self.retry_at = time.time() + delay

    def _release(self) -> None:
        self._alive = False
        if not self.is_abandoned:
            self._surroundings.release(self)

    def _renew(self) -> None:
        self._alive, self._history = False, History()
        self._surroundings.request(self)

    def _finish(self) -> None:
        if not self._alive:
            self.post(Happening.GONE)

    def _set_alarm(self, seconds: float) -> None:
        self._alarm = trio.current_time() + seconds

    ACTIONS: ClassVar[Mapping[Action, Callable[[Replica], None]]] = {
        Action.REQUEST: _request,
        Action.SPAWN: _spawn,
        Action.SUSPEND_LIMIT: _suspend_limit,
        Action.BEGIN_LIMIT: _begin_limit,
        Action.ANNOUNCE: _announce,
        Action.WITHDRAW: _withdraw,
        Action.ADOPT: _begin_limit,
        Action.RECORD_EXIT: _record_exit,
        Action.COMPLETE: _complete,
        Action.RELEASE: _release,
        Action.WAIT_RETRY: _wait_retry,
        Action.DRAIN: _drain,
        Action.TERMINATE: _terminate,
        Action.ESCALATE: _escalate,
        Action.EXPIRE: _expire,
        Action.AWAIT_END: _await_end,
        Action.RENEW: _renew,
        Action.FINISH: _finish,
    }
