"""A call that ends leaves nothing for the collector: what its frames hold, large arrays say, is free at once.

An error that a frame of its own traceback refers to would keep all the frames above, on either side, until the
collector finds the cycle; until then the process makes many other objects, each with arrays of its own perhaps.
"""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import trio
from sharing_rig import numbers

from svcd_ipc.errors import CallError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from svcd_ipc.calls import IncomingCall
    from svcd_ipc.channel import Channel


class Held:
    """Something in a frame."""


class Frames:
    """What is in the frames that matter, as long as they live. The collector rests meanwhile."""

    def __init__(self) -> None:
        self._held: weakref.WeakSet[Held] = weakref.WeakSet()

    def hold(self) -> Held:
        held = Held()
        self._held.add(held)
        return held

    async def all_gone(self) -> None:
        """Fail by the time limit of the test while any frame lives."""
        while self._held:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)


@pytest.fixture
def frames() -> Iterator[Frames]:
    gc.collect()
    gc.disable()
    yield Frames()
    gc.enable()


class Ends:
    """Ends calls in all ways."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.waits = trio.Event()

    async def __call__(self, call: IncomingCall) -> Any:
        held, x = self.frames.hold(), call.args["x"]  # noqa: F841 - it is in this frame
        if call.api == "raises":
            raise ValueError("a fault")
        if call.api == "raises_later":
            await trio.lowlevel.checkpoint()
            raise ValueError("a fault")
        if call.api == "refuses":
            raise CallError("no")
        if call.api == "cannot_travel":
            return {1}
        if call.api == "waits":
            self.waits.set()
            await trio.sleep_forever()
        if call.api == "takes":
            async for _ in call.args["y"]:
                pass
        return self.items(x) if call.api == "items" else x

    async def items(self, x: Any) -> AsyncIterator[Any]:
        held = self.frames.hold()  # noqa: F841 - as above
        yield x
        raise ValueError("a fault")


async def answered(channel: Channel, frames: Frames, api: str) -> None:
    held, x = frames.hold(), numbers()  # noqa: F841 - as above
    try:
        await channel.call(api, {"x": x})
    except CallError:
        return


async def timed_out(channel: Channel, frames: Frames, api: str) -> None:
    held, x = frames.hold(), numbers()  # noqa: F841 - as above
    with pytest.raises(CallError, match="deadline"):
        await channel.call(api, {"x": x}, deadline=trio.current_time() + 0.01)


async def cancelled(channel: Channel, frames: Frames, api: str) -> None:
    held, x = frames.hold(), numbers()  # noqa: F841 - as above
    with trio.move_on_after(0.01):
        await channel.call(api, {"x": x})


async def streamed(channel: Channel, frames: Frames, _api: str) -> None:
    held, stream = frames.hold(), channel.stream("items", {"x": numbers()})  # noqa: F841 - as above
    with pytest.raises(CallError, match="a fault"):
        async for _ in stream:
            pass


async def fed(channel: Channel, frames: Frames, _api: str) -> None:
    held = frames.hold()  # noqa: F841 - as above

    async def items() -> AsyncIterator[Any]:
        yield numbers()
        raise KeyError("of the caller")

    try:
        await channel.call("takes", {"x": numbers()}, inputs={"y": items()})
    except KeyError:
        return


CASES = [  # how the caller ends, api
    *((answered, api) for api in ("echo", "raises", "raises_later", "refuses", "cannot_travel", "items")),
    (timed_out, "waits"),
    (cancelled, "waits"),
    (streamed, "items"),
    (fed, "takes"),
]


@pytest.mark.parametrize(("ends", "api"), CASES)
async def test_a_call_leaves_nothing_to_the_collector(
    join: Any, memory: Any, frames: Frames, ends: Any, api: str
) -> None:
    mine, theirs = memory(), memory()
    channel, _ = await join(Ends(frames), caller={"memory": mine}, memory=theirs, clock=trio.current_time)
    for _ in range(3):
        await ends(channel, frames, api)
    await frames.all_gone()
    while mine.used or theirs.used:  # noqa: ASYNC110 - nothing tells of it
        await trio.sleep(0.01)
