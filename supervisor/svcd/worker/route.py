"""The way to one service: which of its replicas gets a call, and who waits when none can take it.

Law: a call is sent to the replica that would be done with it first, see `svcd.worker.choice`. A call that was not
started goes on to another one freely; a call that may have run is sent again only when its api is idempotent. Calls
that no replica takes wait in one line, first come first served, bounded, with their deadlines running.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.departures import Departures
from svcd.worker.line import Dismissed
from svcd.worker.outgoing import any_begun
from svcd.worker.replica_end import ReplicaEnd
from svcd.worker.retries import RetryBudget
from svcd.worker.revive import raise_as_own
from svcd.worker.route_stream import RouteStream
from svcd_ipc.calls import current_call
from svcd_ipc.errors import Busy, CallError, DeadlineExceeded, Overloaded, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from svcd.values.boot import Address
    from svcd.worker.outgoing import Inputs
    from svcd_ipc.channel import Channel

CLOSED = frozenset(("failed", "stopped"))
"""States in which waiting is in vain."""


class Route:
    """Calls one service, wherever its replicas are."""

    def __init__(
        self,
        service: str,
        *,
        nursery: trio.Nursery,
        identity: Mapping[str, Any],
        default_timeout: float,
        max_queue: int,
        clock: Callable[[], float],
    ) -> None:
        self.service = service
        self.state = "starting"
        self.reason: str | None = None
        self.default_timeout = default_timeout
        self.max_queue = max_queue
        self.clock = clock
        self.replicas: dict[str, ReplicaEnd] = {}
        self._nursery = nursery
        self._identity = identity
        departures = Departures(start=identity.get("replica", 0), default_timeout=default_timeout, clock=clock)
        self._departures = departures
        self._line, self._choice = departures.line, departures.choice
        self.release = departures.release
        """Told of a replica that a call to it is over."""
        self.dispatch = departures.dispatch
        """Hands replicas that would take a call to those first in line."""
        self._is_asking = False
        self._retries = RetryBudget()
        self._token = trio.lowlevel.current_trio_token()

    def __repr__(self) -> str:
        in_flight = sum(replica.in_flight for replica in self.replicas.values())
        return (
            f"<Route {self.service} {self.state}"
            f" [{len(self.replicas)} replicas, {in_flight} in flight, {len(self._line)} waiting]>"
        )

    @property
    def waiting(self) -> int:
        """Calls in the line."""
        return len(self._line)

    @property
    def calls(self) -> int:
        """Calls on their way, running, or in the line."""
        return sum(replica.in_flight for replica in self.replicas.values()) + len(self._line)

    def update(self, state: str, reason: str | None, replicas: Mapping[str, Address]) -> None:
        """Take the daemon's word for state and live replicas, by id."""
        self.state, self.reason = state, reason
        for id_, replica in list(self.replicas.items()):
            if replicas.get(id_) != replica.address:
                del self.replicas[id_]
                replica.unlist()
        for id_, address in replicas.items():
            if id_ not in self.replicas:
                self.replicas[id_] = ReplicaEnd(id_, address)
        self._choice.update(self.replicas.values())
        if self.state in CLOSED and not self.replicas:
            self._line.dismiss()
        else:
            self.dispatch()
            if self._line:
                self._nursery.start_soon(self._ask_again)

    def deadline_of(self, timeout: float | None = None) -> float:
        """Return when a call made now is over: what is left of the caller's own deadline, and the timeout given.

        The default timeout is for calls that have neither.
        """
        return deadline_from(self.clock, timeout, self.default_timeout)

    async def call(
        self,
        api: str,
        args: dict[str, Any],
        *,
        deadline: float | None = None,
        trace: str | None = None,
        retries: int = 0,
        inputs: Inputs | None = None,
    ) -> Any:
        """Call an api and return its result.

        Args:
            api: Name of the api.
            args: Keyword arguments.
            deadline: CLOCK_MONOTONIC instant, waiting included; see `deadline_of`, whose default it has.
            trace: W3C traceparent; that of the call being served unless given.
            retries: How often the call may be sent again after its replica was lost; 0 unless the api is idempotent.
            inputs: Arguments that are streams; a call that has taken from one is not sent again.

        Raises:
            ServiceUnavailable: The service failed or was stopped.
            Overloaded: The line is full.
            ReplicaLost: The replica died while the call may have been running.
            DeadlineExceeded: The time was up.
            CallError: What the api itself raised, see svcd_ipc.errors.
        """
        # Mostly a replica is there, its channel is open, and the answer comes: no function is called beyond what that
        # takes, and no coroutine awaited but the channel's. What else there may be is done by `acquire` and `open`.
        departures = self._departures
        replica, asked, deadline, trace, start = departures.begin(api, args, deadline, trace)
        attempt = 0
        is_back = False
        while True:
            if replica is None:
                replica = await self.acquire(asked, deadline, is_back=is_back)
                start = self.clock()
            try:
                channel = replica.channel
                if channel is None or channel.has_ended:
                    channel = await self.open(replica, asked, deadline)
                    start = self.clock()
                value = await channel.call(api, args, deadline=deadline, trace=trace, attempt=attempt, inputs=inputs)
            except CallError as error:
                try:
                    may_repeat = attempt < retries and not (inputs and any_begun(inputs))
                    attempt += self._back(error, asked, replica, may_repeat=may_repeat)
                finally:
                    departures.release(replica)
            except BaseException:
                departures.release(replica)
                raise
            else:
                departures.arrived(replica, asked, start)
                return value
            replica = None
            is_back = True

    def _back(self, error: CallError, asked: str, replica: ReplicaEnd, *, may_repeat: bool) -> int:
        """Return how many attempts the error of a call has used up: 1, or 0 where it was not begun.

        Raises what the caller has to be told instead of another attempt.
        """
        try:
            if isinstance(error, Busy):
                replica.refused(error.load, self.clock())
                return 0
            if isinstance(error, ServiceUnavailable) and not error.from_peer:  # it never left this process
                return 0
            if isinstance(error, ReplicaLost) and not error.from_peer:  # else it speaks of a replica further down
                if may_repeat and self._may_retry():
                    return 1
                raise self.name_loss(asked, replica) from error
            if not isinstance(error, ServiceUnavailable | ReplicaLost):
                replica.answered()
                raise_as_own(error)
            raise error
        finally:
            del error  # its traceback refers to this frame, which must not refer to it: see `Caller.call`

    def stream(
        self,
        api: str,
        args: dict[str, Any],
        *,
        deadline: float | None = None,
        trace: str | None = None,
        inputs: Inputs | None = None,
    ) -> RouteStream:
        """Call a stream api and return its async iterator; leaving it early cancels the callee."""
        deadline = self.deadline_of() if deadline is None else deadline
        return RouteStream(self, api, args, deadline, trace or inherited_trace(), inputs)

    async def acquire(self, api: str, deadline: float, *, is_back: bool = False) -> ReplicaEnd:
        """Return a replica that would take a call, counted there; wait in the line for one where there is none.

        `is_back`: the call has been at the head of the line before, and was refused by the replica it got.
        """
        if is_back and self.clock() >= deadline:
            raise DeadlineExceeded(f"{self.service}.{api}: {self._why_waiting()}")
        if is_back or not self._line:
            replica = self._choice.take(api, self.clock())
            if replica is not None:
                return replica
        if self.state in CLOSED:
            raise self._unavailable(api)
        if not is_back and len(self._line) >= self.max_queue:
            raise Overloaded(f"{self.service}.{api}: {len(self._line)} calls of this process wait already (max_queue)")
        return await self._wait_in_line(api, deadline, is_back=is_back)

    async def open(self, replica: ReplicaEnd, api: str, deadline: float) -> Channel:
        """Return a replica's channel. Raises ServiceUnavailable, or DeadlineExceeded when it does not shake hands."""
        now = self.clock()
        with trio.move_on_after(max(0.0, deadline - now)):
            return await replica.open(self._nursery, self._identity, now)
        raise DeadlineExceeded(f"{self.service}.{api}: {replica.id} did not take the connection in time")

    def name_loss(self, api: str, replica: ReplicaEnd) -> ReplicaLost:
        """Return the error that names service, api and replica."""
        return ReplicaLost(f"{self.service}.{api}: {replica.id} was lost while the call may have been running")

    def post(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run an async function soon, from any thread; used by finalizers."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._start, function)

    def _start(self, function: Callable[[], Awaitable[None]]) -> None:
        with suppress(RuntimeError):  # the nursery is closed
            self._nursery.start_soon(function)

    def _may_retry(self) -> bool:
        self._retries.deposit(self._departures.calls)
        self._departures.calls = 0
        return self._retries.withdraw()

    async def _wait_in_line(self, api: str, deadline: float, *, is_back: bool) -> ReplicaEnd:
        self._nursery.start_soon(self._ask_again)
        began = self.clock()
        try:
            replica = await self._line.wait(api, deadline - self.clock(), at_head=is_back)
        except Dismissed:
            raise self._unavailable(api) from None
        if replica is not None and self.clock() >= deadline:  # handed over too late
            self.release(replica)
            replica = None
        if replica is None:
            raise DeadlineExceeded(f"{self.service}.{api}: {self._why_waiting()}")
        call = current_call()
        if call is not None and call.timing is not None:
            call.timing.wait(f"{self.service}.{api}", self.clock() - began)
        return replica

    async def _ask_again(self) -> None:
        """While calls wait, let the first one ask each busy replica again when its time has come."""
        if self._is_asking:
            return
        self._is_asking = True
        try:
            while self._line and self.replicas:
                now = self.clock()
                await trio.sleep(min(replica.next_probe(now) for replica in self.replicas.values()))
                for replica in self.replicas.values():
                    if self._line and replica.may_be_probed(self.clock()):
                        replica.take()
                        self._line.hand(replica)
        finally:
            self._is_asking = False

    def _unavailable(self, api: str) -> ServiceUnavailable:
        return ServiceUnavailable(f"{self.service}.{api}: {self.service} is {self.state}: {self.reason or 'no reason'}")

    def _why_waiting(self) -> str:
        if not self.replicas:
            why = f": {self.reason}" if self.reason else ""
            return f"no replica of {self.service} was ready in time ({self.state}{why})"
        return (
            f"no replica of {self.service} had room in time ({len(self.replicas)} busy, {len(self._line)} calls wait)"
        )


def deadline_from(clock: Callable[[], float], timeout: float | None, default: float) -> float:
    """Return the deadline of a call made now by the running code; `default` is for calls that have no other limit."""
    call = current_call()
    inherited = call.deadline if call is not None else None
    if timeout is None:
        return inherited if inherited is not None else clock() + default
    own = clock() + timeout
    return own if inherited is None else min(own, inherited)


def inherited_trace() -> str | None:
    """Return the trace context of the call that the running code serves."""
    call = current_call()
    return call.trace if call is not None else None
