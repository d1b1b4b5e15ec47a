"""Calls between services of one process, under the rules of calls between processes.

Arguments and results go through the codec, errors through their wire form; deadlines, cancellation and admission are
the same. What differs is what it costs: no socket, and the callee runs in the caller's task.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.local_inputs import LocalInputs
from svcd.worker.revive import raise_as_own
from svcd.worker.route import deadline_from, inherited_trace
from svcd_ipc.calls import IncomingCall, call_context
from svcd_ipc.codec import transfer
from svcd_ipc.errors import (
    BadResult,
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    Overloaded,
    RemoteError,
    from_wire,
    to_wire,
)
from svcd_ipc.messages import VERSION, Hello
from svcd_ipc.scopes import effective_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.worker.outgoing import Inputs
    from svcd.worker.serve import LiveService

_HERE = Hello(VERSION, {"role": "local"})

WINDOW = 16
"""Items that a stream's producer may be ahead of its consumer."""


class LocalCaller:
    """Carries calls to a service of this process; the local form of a Route.

    Args:
        live: The service.
        nursery: Where the producers of streams run.
        default_timeout: Seconds for a call that has no other limit.
        max_queue: The most calls that wait for a slot.
        clock: Must work on any thread.
    """

    def __init__(
        self,
        live: LiveService,
        *,
        nursery: trio.Nursery,
        default_timeout: float,
        max_queue: int,
        clock: Callable[[], float],
    ) -> None:
        self.service = live.name
        self.live = live
        self.nursery = nursery
        self._default_timeout = default_timeout
        self._max_queue = max_queue
        self._clock = clock
        self._line: deque[tuple[IncomingCall, trio.Event]] = deque()
        live.on_freed = self._admit_next

    def __repr__(self) -> str:
        return f"<LocalCaller {self.live} [{len(self._line)} waiting]>"

    def deadline_of(self, timeout: float | None = None) -> float:
        """See `Route.deadline_of`."""
        return deadline_from(self._clock, timeout, self._default_timeout)

    async def call(
        self,
        api: str,
        args: dict[str, Any],
        *,
        deadline: float | None = None,
        retries: int = 0,  # noqa: ARG002  (a service of this process is never lost)
        inputs: Inputs | None = None,
    ) -> Any:
        """Call an api and return its result; raises as `Route.call`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        give_up = self.deadline_of() if deadline is None else deadline
        call = self.incoming(api, args, min(give_up, self._scope_deadline()))
        if inputs:
            async with LocalInputs(inputs, call).while_running():
                return await self._call(call, give_up)
        return await self._call(call, give_up)

    async def _call(self, call: IncomingCall, give_up: float) -> Any:
        api = call.api
        with self.until(give_up):
            await self.admit(call)
            try:
                return self.carried(api, await self.run(call))
            except DeadlineExceeded:
                if call.deadline != give_up:
                    await trio.sleep_forever()  # it is the caller's own scope whose time is up; that scope says so
                raise
        raise self.too_late(api)

    def stream(
        self, api: str, args: dict[str, Any], *, deadline: float | None = None, inputs: Inputs | None = None
    ) -> LocalStream:
        """Call a stream api and return its async iterator."""
        call = self.incoming(api, args, self.deadline_of() if deadline is None else deadline)
        return LocalStream(self, call, LocalInputs(inputs, call) if inputs else None)

    def incoming(self, api: str, args: dict[str, Any], deadline: float) -> IncomingCall:
        """Return the call as its handler will see it. Raises EncodeError for arguments that cannot travel."""
        try:
            carried = transfer(args)
        except EncodeError as error:
            raise EncodeError(f"{self.service}.{api}: args{str(error).removeprefix('value')}") from None
        return IncomingCall(api, carried, deadline, inherited_trace(), 0, _HERE, self._clock)

    def until(self, deadline: float) -> trio.CancelScope:
        """Return a scope that ends at an instant of the clock."""
        return trio.move_on_after(max(0.0, deadline - self._clock()))

    def too_late(self, api: str) -> DeadlineExceeded:
        """Return the error of a call whose time is up."""
        return DeadlineExceeded(f"{self.service}.{api}: no answer before the deadline")

    def _scope_deadline(self) -> float:
        """Return when the scopes around the running task end, on our clock."""
        return effective_deadline() - trio.current_time() + self._clock()

    def carried(self, api: str, value: Any, what: str = "result") -> Any:
        """Return a result or an item as it arrives. Raises BadResult."""
        if hasattr(type(value), "__anext__"):
            raise InvalidArgument(f"{self.service}.{api} answers with a stream; call it as one")
        try:
            return transfer(value)
        except EncodeError as error:
            told = f"{what}{str(error).removeprefix('value')}"
            raise BadResult(f"{self.service}.{api} returned what cannot travel: {told}") from None

    async def admit(self, call: IncomingCall) -> None:
        """Wait for a slot, first come first served. Raises Overloaded when too many wait."""
        if call.api not in self.live.apis or (not self._line and self.live.take(call)):
            return
        if len(self._line) >= self._max_queue:
            raise Overloaded(f"{self.service}.{call.api}: {len(self._line)} calls wait already (max_queue)")
        waiter = (call, trio.Event())
        self._line.append(waiter)
        self.live.lined_up = len(self._line)
        try:
            await waiter[1].wait()
        except BaseException:
            if waiter[1].is_set():
                self.live.freed()
            else:
                self._line.remove(waiter)
                self.live.lined_up = len(self._line)
            raise

    async def run(self, call: IncomingCall) -> Any:
        """Run an admitted call. Raises what its caller would see."""
        with call_context(call):
            try:
                return await self.live.handle(call)
            except Exception as error:  # noqa: BLE001  (each becomes what it would be over a connection)
                told = arrived(error)
                try:
                    raise_as_own(told)
                    raise told from None
                finally:
                    del told  # It keeps this frame, and is not to be kept by it.

    def _admit_next(self) -> None:
        while self._line and self.live.take(self._line[0][0]):
            self._line.popleft()[1].set()
        self.live.lined_up = len(self._line)


class LocalStream:
    """Items of a local stream api."""

    def __init__(self, caller: LocalCaller, call: IncomingCall, inputs: LocalInputs | None) -> None:
        self._producer = Producer(caller, call, inputs)
        self._deadline = inf if call.deadline is None else call.deadline
        self._items: trio.MemoryReceiveChannel[Any] | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def __aiter__(self) -> LocalStream:
        return self

    async def __anext__(self) -> Any:
        producer = self._producer
        if self._items is None:
            self._token = trio.lowlevel.current_trio_token()
            self._items = producer.start()
        with producer.caller.until(self._deadline):
            try:
                return await self._items.receive()
            except trio.EndOfChannel:
                if producer.error is not None:
                    error, producer.error = producer.error, None
                    try:
                        raise_as_own(error)
                        raise error from None
                    finally:
                        del error  # It keeps this frame, and is not to be kept by it.
                raise StopAsyncIteration from None
            except trio.ClosedResourceError:
                raise StopAsyncIteration from None
            except trio.Cancelled:
                await self.aclose()
                raise
        raise producer.caller.too_late(producer.call.api)

    async def aclose(self) -> None:
        """Take no more items and cancel the producer."""
        if self._items is not None:
            _leave(self._producer, self._items)

    def __del__(self) -> None:
        if self._token is not None and self._items is not None:  # perhaps a loop that was left by `break`
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(_leave, self._producer, self._items)


class Producer:
    """Runs a stream api in a task of its own, as over a connection. Knows nothing of who takes the items."""

    def __init__(self, caller: LocalCaller, call: IncomingCall, inputs: LocalInputs | None) -> None:
        self.caller = caller
        self.call = call
        self.inputs = inputs
        self.scope = trio.CancelScope()
        self.error: BaseException | None = None
        """Why the items ended."""

    def start(self) -> trio.MemoryReceiveChannel[Any]:
        """Begin, and return where the items come out."""
        send, receive = trio.open_memory_channel[Any](WINDOW)
        self.caller.nursery.start_soon(self._run, send)
        return receive

    async def _run(self, send: trio.MemorySendChannel[Any]) -> None:
        self.scope.deadline = trio.current_time() + self.call.remaining()
        with send:
            with self.scope:
                await self._run_all(send)
            if self.scope.cancelled_caught:
                self.error = self.caller.too_late(self.call.api)  # unless it was left, but then nobody looks

    async def _run_all(self, send: trio.MemorySendChannel[Any]) -> None:
        try:
            if self.inputs is None:
                await self._produce(send)
                return
            async with self.inputs.while_running():
                await self._produce(send)
        except Exception as error:  # noqa: BLE001  (raised where the items are taken)
            was_ours = self.inputs is not None and self.inputs.error is error
            self.error = error if was_ours else arrived(error)

    async def _produce(self, send: trio.MemorySendChannel[Any]) -> None:
        caller, call = self.caller, self.call
        await caller.admit(call)
        items = await caller.run(call)
        try:
            with call_context(call):
                async for item in items:
                    await send.send(caller.carried(call.api, item, "item"))
        finally:
            await items.aclose()


def _leave(producer: Producer, items: trio.MemoryReceiveChannel[Any]) -> None:
    producer.scope.cancel()
    items.close()


def arrived(error: BaseException) -> CallError:
    """Return the error as it arrives at a caller in another process."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return from_wire(*to_wire(error if isinstance(error, CallError) else RemoteError.of(error)))
