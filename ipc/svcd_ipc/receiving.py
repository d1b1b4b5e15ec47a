"""How bytes come from a socket into the connection: at once, after the peer was let run, after a sleep in the kernel.

Each way costs more than the one before, and the last, to park in the event loop, is in `reading`.
"""

from __future__ import annotations

from os import sched_yield
from time import perf_counter
from typing import TYPE_CHECKING, Final

from svcd_ipc.giveway import GiveWay
from svcd_ipc.kernelwait import SOON, Heard, KernelWait
from svcd_ipc.loopstate import LoopState, of_this_run

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from svcd_ipc.connection import Connection
    from svcd_ipc.outbox import Outbox

_READ: Final = 64 * 1024
"""Bytes asked of the kernel at once."""


class Receiver:
    """Moves bytes from a non-blocking socket into the connection. `end` is told why there are no more."""

    def __init__(
        self, sock: socket.socket, *, connection: Connection, outbox: Outbox, end: Callable[[Exception], None]
    ) -> None:
        self._sock = sock
        self._connection = connection
        self._outbox = outbox
        self._end = end
        self.fd = sock.fileno()
        self.recv: Callable[[int], bytes] = sock.recv
        """Returns what came, at most so many bytes; replaced while descriptors may come too."""
        self.way = GiveWay()
        self.loop = LoopState()
        self._wait = KernelWait(self.fd, self.loop)
        self.has_peer_ended = False
        self._is_drained = False
        """The kernel held no more than was received last."""

    def start(self) -> None:
        """Sleep in the kernel from now on where that is possible; called in the run of trio that reads."""
        self.loop = of_this_run()
        self._wait = KernelWait(self.fd, self.loop)

    def swap(self, loop: LoopState, wait: KernelWait) -> tuple[LoopState, KernelWait]:
        """Sleep in another way from now on; return the one before."""
        before = self.loop, self._wait
        self.loop, self._wait = loop, wait
        return before

    def close(self) -> None:
        """Let go of what is held open besides the socket."""
        self._wait.close()

    def receive(self) -> None:
        """Hand the connection what the kernel holds. Raises OSError; BlockingIOError when it holds nothing."""
        connection = self._connection
        self._is_drained = True
        try:
            if connection.is_inside_frame and (target := connection.writable()) is not None:
                if count := self._sock.recv_into(target):
                    self._is_drained = count < len(target)
                    connection.written(count)
                    return
            elif data := self.recv(_READ):
                self._is_drained = len(data) < _READ
                connection.receive_data(data)
                return
        except ConnectionResetError:  # The end of a Unix socket whose peer had not read all that was sent to it.
            pass
        self.has_peer_ended = True
        connection.receive_data(b"")

    def try_to_receive(self) -> bool:
        """Receive what came; False when there is nothing."""
        try:
            self.receive()
        except BlockingIOError:
            return False
        except OSError as error:
            self._end(error)
        return True

    def receive_next(self) -> bool:
        """Wait for what the peer says next, and receive it; False when only the event loop can wait for it."""
        way = self.way
        if way.skip:
            way.skip -= 1
        elif self._receive_giving_way():
            return True
        return self.loop.is_alone and self._receive_blocking()

    def park(self) -> None:
        """Hold nothing any more that is not needed while the event loop waits."""
        self._give_back()
        self._wait.close()

    def _give_back(self) -> None:
        """Say what is no longer used of the peer's memory, before bytes are waited for."""
        if self._connection.notes:
            self._outbox.put(self._connection.send_returns(), join=False)

    def _receive_giving_way(self) -> bool:
        way = self.way
        way.give()
        while not self.try_to_receive():
            if not way.give_on():
                way.note(has_helped=False)
                return False
        way.note(has_helped=True)
        if way.is_loops_turn and self.loop.is_idle():
            way.is_loops_turn = False
        return True

    def _receive_blocking(self) -> bool:
        self._give_back()
        if not self._is_drained:
            if not self.loop.is_idle():
                return False  # Else a peer that always has more to say would keep all other tasks from their turn.
            if self.try_to_receive():
                return True
        wait = self._wait
        while True:
            heard = wait.sleep()
            if wait.has_others:
                self.way.is_loops_turn = True
            if heard is not Heard.READ:
                return heard is Heard.BYTES and self.try_to_receive()
            is_soon = self._receive_soon()
            wait.note(has_helped=is_soon)
            if is_soon:
                return True

    def _receive_soon(self) -> bool:
        """Look for bytes for as long as it would take to fall asleep and to be woken."""
        end = perf_counter() + SOON
        while not self.try_to_receive():
            if perf_counter() > end:
                return False
            sched_yield()
        return True
