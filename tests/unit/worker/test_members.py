"""Services of one process: who gets the slots when callers within and outside want them, drain, order of closing."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

import svcd
from svcd.worker.bind import bind_dependencies, unborn
from svcd.worker.lobby import Lobby
from svcd.worker.members import Members
from svcd_ipc.calls import IncomingCall
from svcd_ipc.errors import Busy
from svcd_ipc.messages import VERSION, Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMITS = {"timeout": 60.0, "max_concurrency": 8, "max_queue": 1000, "threads": 1, "async_backend": "trio"}
OUTSIDE = Hello(VERSION, {})


@svcd.service
class Low:
    def __init__(self) -> None:
        self.running = self.most = 0

    @svcd.api
    async def work(self, seconds: float) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(seconds)
        finally:
            self.running -= 1


@svcd.service
class High:
    low = svcd.depends(Low)

    @svcd.api
    async def work(self, seconds: float, calls: int = 1) -> None:
        for _ in range(calls):
            await self.low.work(seconds=seconds)


@asynccontextmanager
async def members(*classes: type, **limits: Any) -> AsyncIterator[Members]:
    """Give started services, each bound to those before it."""
    async with trio.open_nursery() as nursery:
        made = Members(nursery, trio.lowlevel.current_clock().current_time)
        for cls in classes:
            member = made.add(cls.__name__, **LIMITS | limits)
            instance = unborn(cls)
            told = {
                "service": "Low",
                "fallback": None,
                "timeout": None,
                "apis": {"work": {"is_async": True, "is_stream": False, "idempotent": False}},
            }
            bind_dependencies(instance, {"low": told}, lambda _: made.get("Low").caller, made.portal)
            member.live.attach(instance)
            instance.__init__()
            await made.open(member)
        yield made
        await made.close()
        await made.stop()
        nursery.cancel_scope.cancel()


async def test_callers_within_and_outside_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    done = {"within": 0, "outside": 0}

    async def within() -> None:
        while True:
            await low.caller.call("work", {"seconds": 0.02})
            done["within"] += 1

    async def outside() -> None:
        while True:
            call = IncomingCall("work", {"seconds": 0.02}, None, None, 0, Hello(VERSION, {}), trio.current_time)
            while not lobby.admit(call):  # noqa: ASYNC110  (as a caller asks again, without being told)
                await trio.sleep(0.05)
            with suppress(Busy):
                await lobby.handle(call)
                done["outside"] += 1

    async with members(Low) as made, trio.open_nursery() as nursery:
        low = made.get("Low")
        lobby = Lobby(low.live)
        for _ in range(64):
            nursery.start_soon(within)
        for _ in range(16):
            nursery.start_soon(outside)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
        assert low.live.instance.most == 8
    assert min(done.values()) >= sum(done.values()) / 4, done


async def test_calls_within_go_on_while_it_drains(autojump_clock: trio.testing.MockClock) -> None:
    async with members(Low, High) as made, trio.open_nursery() as nursery:
        low, high = made.get("Low"), made.get("High")
        nursery.start_soon(high.caller.call, "work", {"seconds": 1, "calls": 3})
        await trio.sleep(0.5)
        assert made.health()["services"] == {
            name: {"in_flight": 1, "queued": 0, "threads_stuck": 0} for name in ("Low", "High")
        }
        await made.drain()
        assert trio.current_time() >= 2.5
        for member in (low, high):
            assert not member.live.admit(IncomingCall("work", {}, None, None, 0, OUTSIDE, trio.current_time))
        await low.caller.call("work", {"seconds": 1})  # as a hook of High does when it is closed
