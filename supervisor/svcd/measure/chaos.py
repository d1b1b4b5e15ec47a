"""Breaking the replicas of a running app, one every so often, and seeing how long each is missed.

The daemon does what is ordered (`svcd.control.strikes`); which replica it is that is struck next is decided here, by a
seed. With the same seed and the same services the same replicas are struck in the same order, as far as they are there.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.client import connect

if TYPE_CHECKING:
    from pathlib import Path

    from svcd_ipc.channel import Channel

UP = {"ready", "unready"}
"""States of a replica that can be struck, and to which a struck one is to come back."""
_ASK = 10.0
"""Seconds for the daemon to answer."""

Tell = Callable[[float, str], None]
"""Told, in words, what is done and what becomes of it: seconds since the begin, and a line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    fault: str
    services: tuple[str, ...]
    every: float
    """Seconds between two strikes. One that lasts, `slow`, lasts until the next."""
    seconds: float
    seed: int
    settle: float
    """Seconds that all have to be ready again within, after the last strike."""


@dataclass(slots=True)
class Strike:
    """One fault, and what became of it. Times are in seconds."""

    replica: str
    generation: int
    pid: int | None
    at: float
    """Since the begin, when the daemon struck."""
    connections: int | None = None
    """How many were cut."""
    noticed: float | None = None
    """After which the daemon took the replica for one that cannot serve; None when it never did."""
    back: float | None = None
    """After which it was ready again; None when it had not to be, or was not."""


def choose(plan: Plan, number: int, states: Mapping[str, str]) -> str | None:
    """Return the replica that strike `number` hits, None when none is up. Pure.

    It depends on the seed, the number and the names alone who is meant; one that is not up passes it on to the next.
    """
    names = list(states)
    if not names:
        return None
    first = random.Random(f"{plan.seed}:{number}").randrange(len(names))  # noqa: S311 - to be repeated, not to be secret
    return next((name for name in (*names[first:], *names[:first]) if states[name] in UP), None)


def run(control: Path, plan: Plan, tell: Tell) -> dict[str, Any]:
    """Carry a plan out; return what `svcd chaos --json` prints. SIGINT ends it early.

    Raises CallError when the daemon goes away, or will not do it.
    """
    try:
        return trio.run(_run, control, plan, tell, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as group:  # of a nursery: its one error is for people
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


async def _run(control: Path, plan: Plan, tell: Tell) -> dict[str, Any]:
    async with trio.open_nursery() as nursery:
        daemon = await connect(control, nursery=nursery, identity={"role": "cli"})
        chaos = Chaos(daemon, plan, tell)
        await nursery.start(chaos.follow)
        await nursery.start(_stop_on_interrupt, chaos)
        await chaos.run()
        nursery.cancel_scope.cancel()
    return chaos.figures()


async def _stop_on_interrupt(chaos: Chaos, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        await anext(signals)
        chaos.stop()
        await anext(signals)
        chaos.settling.cancel()


class Chaos:
    """One run of a plan."""

    def __init__(self, daemon: Channel, plan: Plan, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._daemon = daemon
        self._plan = plan
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._scope = trio.CancelScope()
        self.settling = trio.CancelScope()
        self._open: dict[str, Strike] = {}
        """By replica: strikes whose replica may still be missed."""
        self._last: dict[str, tuple[int, str, float]] = {}
        """By replica: generation and state that were heard last, and when it came to that, since the begin."""
        self._news = trio.Event()
        """Set with the next change of any replica; take it before looking at what may change."""
        self._missed = 0
        self._lacking: list[str] = []
        self.strikes: list[Strike] = []

    def __repr__(self) -> str:
        return f"<Chaos {self._plan.fault} [{len(self.strikes)} strikes]>"

    def stop(self) -> None:
        """Strike no more, and end what lasts."""
        self._scope.cancel()

    async def run(self) -> None:
        """Strike until the time is up, then wait until all are ready again."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                end, number = self._began + self._plan.seconds, 0
                while (due := self._began + number * self._plan.every) < end:
                    await trio.sleep(max(0.0, due - self._clock()))
                    await self._strike(nursery, number)
                    number += 1
                await trio.sleep(max(0.0, end - self._clock()))
                nursery.cancel_scope.cancel()  # what lasts, ends
        if not await self._settle():
            self._lacking = await self._lack()

    async def _settle(self) -> bool:
        """Wait until all are ready again at one time; return whether they were before the time was up.

        Whoever is late to answer on a busy machine is not ready for a moment now and then; that once is enough.
        """
        with self.settling, trio.move_on_after(self._plan.settle):
            while True:
                news = self._news
                if not self._is_missed() and not await self._lack():
                    return True
                await news.wait()
        return False

    async def _lack(self) -> list[str]:
        """Return who is not ready just now."""
        return [name for name, state in (await self._ask()).items() if state != "ready"]

    def _is_missed(self) -> bool:
        """Whether somebody who was struck is yet to come back, as far as has been heard: who is killed always is."""
        return any(strike.noticed is not None or self._plan.fault == "kill" for strike in self._open.values())

    async def _ask(self) -> dict[str, str]:
        """By replica, in order: its state."""
        with trio.fail_after(_ASK):
            rows = await self._daemon.call("ps", {})
        wanted = {service.lower() for service in self._plan.services}
        return {
            f"{row['service']}/{row['replica']}": row["state"]
            for row in sorted(rows, key=lambda row: (row["service"], row["replica"]))
            if row["service"].lower() in wanted and row["state"] not in {"stopped", "done"}
        }

    async def _strike(self, nursery: trio.Nursery, number: int) -> None:
        states = await self._ask()
        name = choose(self._plan, number, states)
        if name is None:
            self._missed += 1
            self._say("none is up that could be struck")
            return
        await nursery.start(self._do, name)

    async def _do(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        service, _, index = name.rpartition("/")
        lasting = self._plan.every if self._plan.fault == "slow" else self._plan.seconds
        args = {"service": service, "replica": int(index), "fault": self._plan.fault, "seconds": lasting}
        async for news in self._daemon.stream("strike", args):
            if "missed" in news:
                self._missed += 1
                self._say(f"missed: {news['missed']}")
            else:
                self._struck(**news["struck"])
            task_status.started()

    def _struck(
        self, service: str, replica: int, generation: int, pid: int | None, connections: int | None, at: float
    ) -> None:
        strike = Strike(f"{service}/{replica}", generation, pid, at - self._began, connections)
        self.strikes.append(strike)
        self._open[strike.replica] = strike
        last, state, since = self._last.get(strike.replica, (0, "", 0.0))
        if last == generation and state not in UP:
            strike.noticed = since - strike.at  # this was heard before the news of the strike
        cut = "" if connections is None else f", {connections} connections cut"
        self._say(f"{self._plan.fault} {strike.replica} (pid {pid}{cut})")

    async def follow(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hear what becomes of those that were struck."""
        changes = self._daemon.stream("events", {})
        task_status.started()
        async for change in changes:
            self._news.set()
            self._news = trio.Event()
            name = f"{change['service']}/{change['replica']}"
            told = change["at"] - self._began
            self._last[name] = change["generation"], change["state"], told
            strike = self._open.get(name)
            if strike is None or change["generation"] < strike.generation:
                continue
            after = told - strike.at
            if change["state"] not in UP and strike.noticed is None:
                strike.noticed = after
            elif change["state"] == "ready" and (
                strike.noticed is not None or change["generation"] > strike.generation
            ):
                strike.back = after
                del self._open[name]
                self._say(f"{name} is back after {after:.2f} s")
            elif change["state"] == "failed":
                del self._open[name]
                self._say(f"{name} is given up: {change['reason'].partition(chr(10))[0]}")

    def figures(self) -> dict[str, Any]:
        """Return the plan, every strike, and who is not ready again."""
        plan = {"fault": self._plan.fault, "services": list(self._plan.services), "every": self._plan.every}
        ran = {"seed": self._plan.seed, "seconds": self._now(), "missed": self._missed, "lacking": self._lacking}
        return {**plan, **ran, "strikes": [asdict(strike) for strike in self.strikes]}

    def _now(self) -> float:
        return self._clock() - self._began

    def _say(self, text: str) -> None:
        self._tell(self._now(), text)
