"""grpc.aio over a Unix socket, with msgpack in the place of protobuf: no generated code, the same small map."""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Any

import array_work
import grpc.aio
import msgpack
import numpy as np
from load import ARGUMENTS, Order, loop_on_asyncio

from contenders.servers import OverSocket

OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_EXPECTED = struct.Struct("<Q")


async def serve(path: str) -> None:
    """Answer until killed."""

    async def echo(request: Any, _context: Any) -> Any:
        return request

    async def plus_one(request: bytes, _context: Any) -> bytes:
        (expected,) = _EXPECTED.unpack_from(request)
        return array_work.plus_one(np.frombuffer(request, dtype=np.int32, offset=_EXPECTED.size), expected).tobytes()

    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo, msgpack.unpackb, msgpack.packb),
        "PlusOne": grpc.unary_unary_rpc_method_handler(plus_one),
    }
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bench", methods),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    await server.wait_for_termination()


class Session(OverSocket):
    """A server, and a client in this process."""

    module = "grpc_aio"

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small` and `array`."""
        return asyncio.run(self._measure(order))

    async def _measure(self, order: Order) -> dict[str, Any]:
        array, expected = array_work.make(order.size)
        async with grpc.aio.insecure_channel(f"unix:{self.path}", options=OPTIONS) as channel:
            echo = channel.unary_unary("/Bench/Echo", msgpack.packb, msgpack.unpackb)
            add = channel.unary_unary("/Bench/PlusOne")

            async def small() -> bool:
                return bool(await echo(ARGUMENTS, timeout=60) == ARGUMENTS)

            async def plus_one() -> bool:
                answer = await add(_EXPECTED.pack(expected) + array.tobytes(), timeout=60)
                return array_work.is_plus_one(np.frombuffer(answer, dtype=np.int32), array, expected)

            return (await loop_on_asyncio(plus_one if order.what == "array" else small, order)).plain()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
