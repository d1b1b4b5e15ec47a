"""pyzmq under asyncio over ipc://: a dealer that keeps many calls in flight, a router that echoes, msgpack."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from typing import Any

import array_work
import msgpack
import numpy as np
import zmq
import zmq.asyncio
from load import ARGUMENTS, Order, loop_on_asyncio

from contenders.servers import OverSocket


async def serve(path: str) -> None:
    """Echo; a message of four parts is an array."""
    socket = zmq.asyncio.Context().socket(zmq.ROUTER)
    socket.set_hwm(0)
    socket.bind(f"ipc://{path}")
    while True:
        who, number, *parts = await socket.recv_multipart(copy=False)
        if len(parts) == 2:
            answer = array_work.plus_one(
                np.frombuffer(parts[1].buffer, dtype=np.int32), msgpack.unpackb(parts[0].buffer)
            )
            await socket.send_multipart([who, number, answer], copy=False)
        else:
            # Small messages are quicker copied.
            answer = msgpack.packb(msgpack.unpackb(parts[0].buffer))
            await socket.send_multipart([who.bytes, number.bytes, answer])


class Caller:
    """Calls by number over one socket."""

    def __init__(self, path: str) -> None:
        self._socket = zmq.asyncio.Context().socket(zmq.DEALER)
        self._socket.set_hwm(0)
        self._socket.connect(f"ipc://{path}")
        self._numbers = count()
        self._waiting: dict[bytes, asyncio.Future[Any]] = {}
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        while True:
            number, answer = await self._socket.recv_multipart(copy=False)
            self._waiting.pop(number.bytes).set_result(answer.buffer)

    async def call(self, *parts: Any) -> Any:
        """Return the answer's buffer."""
        number = b"%d" % next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_multipart([number, *parts], copy=len(parts) == 1)
        return await answer

    def close(self) -> None:
        """Let go of the socket."""
        self._reading.cancel()
        self._socket.close(linger=0)


class Session(OverSocket):
    """A server, and a client in this process."""

    module = "zmq_asyncio"

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small` and `array`."""
        return asyncio.run(self._measure(order))

    async def _measure(self, order: Order) -> dict[str, Any]:
        caller = Caller(str(self.path))
        array, expected = array_work.make(order.size)

        async def small() -> bool:
            return bool(msgpack.unpackb(await caller.call(msgpack.packb(ARGUMENTS))) == ARGUMENTS)

        async def plus_one() -> bool:
            answer = np.frombuffer(await caller.call(msgpack.packb(expected), array), dtype=np.int32)
            return array_work.is_plus_one(answer, array, expected)

        try:
            return (await loop_on_asyncio(plus_one if order.what == "array" else small, order)).plain()
        finally:
            caller.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
