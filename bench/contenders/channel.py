"""svcd's bare channel (`svcd_ipc`): what a hop is made of, without the app around it."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import array_work
from load import ARGUMENTS, TRACE, Order, loop_on_trio

from contenders.servers import OverSocket


def serve(path: str) -> None:
    """Answer as a replica does."""
    import trio

    from svcd_ipc.server import listen
    from svcd_ipc.server import serve as serve_channels

    async def answer(call: Any) -> Any:
        if call.api == "plus_one":
            return array_work.plus_one(**call.args)
        return call.args

    async def main() -> None:
        draft = f"{path}.new"
        listener = listen(draft)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_channels, listener, answer, identity={}))
            Path(draft).rename(path)  # noqa: ASYNC240 - nobody is served before that

    trio.run(main)


class Session(OverSocket):
    """A server, and a client in this process."""

    module = "channel"

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small` and `array`."""
        import trio

        return trio.run(self._measure, order)

    async def _measure(self, order: Order) -> dict[str, Any]:
        import trio

        from svcd_ipc.client import connect

        array, expected = array_work.make(order.size)
        async with trio.open_nursery() as nursery:
            channel = await connect(str(self.path), nursery=nursery)

            # Each call has a deadline and a trace, as a dependency's has.
            async def small() -> bool:
                deadline = time.monotonic() + 60
                return bool(await channel.call("echo", ARGUMENTS, deadline=deadline, trace=TRACE) == ARGUMENTS)

            async def plus_one() -> bool:
                args = {"array": array, "expected": expected}
                answer = await channel.call("plus_one", args, deadline=time.monotonic() + 60)
                return array_work.is_plus_one(answer, array, expected)

            sample = await loop_on_trio(plus_one if order.what == "array" else small, order)
            channel.close()
        return sample.plain()


if __name__ == "__main__":
    serve(sys.argv[1])
