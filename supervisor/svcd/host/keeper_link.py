"""The daemon's end of the link to its keeper: orders out without ever blocking, events in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgpack
import trio

from svcd.values import orders
from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.frames import FrameReader, pack

if TYPE_CHECKING:
    import socket

_READ_SIZE = 64 * 1024


class KeeperGone(Exception):  # noqa: N818 - news, and mostly expected, rather than a fault
    """The keeper has ended, and with it every process of the app."""


class KeeperLink:
    """A link over our end of the socket that `start_keeper` returned.

    `events` gives what the keeper says, in order, and ends when the keeper does. Both ways are buffered without a
    bound: neither side may ever wait for the other, and what is under way is bounded by the number of processes.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._orders_in, self._orders = trio.open_memory_channel[bytes](math.inf)
        self._events_in, self.events = trio.open_memory_channel[orders.Event](math.inf)
        self.closed = trio.Event()
        """Set when the keeper has gone, or the link was closed."""

    def __repr__(self) -> str:
        """Whether it is up, and what waits in it."""
        state = "closed" if self.closed.is_set() else "open"
        waiting = self._orders.statistics().current_buffer_used
        return f"<KeeperLink {state}, {waiting} orders waiting>"

    def send(self, order: orders.Order) -> None:
        """Give an order; never blocks. Raises KeeperGone."""
        if self.closed.is_set():
            raise KeeperGone("the keeper has ended")
        self._orders_in.send_nowait(pack(msgpack.packb(orders.pack(order), unicode_errors="surrogateescape")))

    async def run(self) -> None:
        """Move orders and events until the keeper ends. Raises RemoteProtocolError when what it says cannot be read."""
        with self._events_in, self._orders:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
                    nursery.cancel_scope.cancel()
            finally:
                self.closed.set()
                await trio.aclose_forcefully(self._stream)

    async def _write(self) -> None:
        try:
            async for frame in self._orders:
                await self._stream.send_all(frame)
        except trio.BrokenResourceError:
            return  # reading ends as well, with the events that were still under way

    async def _read(self) -> None:
        reader = FrameReader()
        try:
            while data := await self._stream.receive_some(_READ_SIZE):
                reader.feed(data)
                while (body := reader.next_frame()) is not None:
                    self._events_in.send_nowait(_event(body))
        except trio.BrokenResourceError:
            return


def _event(body: bytes | memoryview) -> orders.Event:
    try:
        event = orders.unpack(msgpack.unpackb(body, unicode_errors="surrogateescape"))
    except (ValueError, msgpack.UnpackException) as error:
        raise RemoteProtocolError(f"the keeper sent what is no event: {error}") from error
    if isinstance(event, orders.Order):
        raise RemoteProtocolError(f"the keeper sent an order: {event!r:.200}")
    return event
