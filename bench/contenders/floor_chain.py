"""The floor of a chain: a line of blocking processes, each asked by the one before, over Unix sockets with msgpack.

What it costs more per hop than the floor of one hop is what the machine makes of so many processes: their memory is in
no cache any more when their turn comes.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
from load import ARGUMENTS, Order, loop_blocking

from contenders.floor import Frames
from contenders.servers import OverSocket

LINKS = 8
_READ = 64 * 1024
_HEAD = 4
"""Bytes of a frame's length."""


def serve(path: str, links: int) -> None:
    """Be one link, and start those after it."""
    after = _Peer(_started(f"{path}-", links - 1)) if links > 1 else None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen()
        Path(f"{path}.new").rename(path)
        while True:
            sock, _ = listener.accept()
            with sock:
                _answer(_Peer(sock), after)


def _started(path: str, links: int) -> socket.socket:
    """Return a connection to the next link, which ends with the process group."""
    subprocess.Popen([sys.executable, "-m", "contenders.floor_chain", path, str(links)])
    while not Path(path).exists():
        time.sleep(0.002)
    return _connected(path)


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def _answer(above: _Peer, after: _Peer | None) -> None:
    """Ask the next link, or answer at the end of the way, until the peer hangs up."""
    while (message := above.receive()) is not None:
        number, left, arguments = message
        if left > 1 and after is not None:
            after.send([number, left - 1, arguments])
            arguments = (after.receive() or [None] * 3)[2]
        above.send([number, left, arguments])


class _Peer:
    """Whole messages over a blocking socket, one at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._packer = msgpack.Packer()
        self._frames = Frames()

    def send(self, message: list[Any]) -> None:
        body = self._packer.pack(message)
        self._sock.sendall(len(body).to_bytes(_HEAD, "little") + body)

    def receive(self) -> list[Any] | None:
        """Return the next message, None at the end."""
        while data := self._sock.recv(_READ):
            for message in self._frames.cut(data):
                return list(message)
        return None


class Session(OverSocket):
    """The line, and a client in this process."""

    module = "floor_chain"

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `chain` with as many hops as `target` says."""
        with _connected(str(self.path)) as sock:
            peer = _Peer(sock)

            def call() -> bool:
                peer.send([1, int(order.target), ARGUMENTS])
                return (peer.receive() or [None] * 3)[2] == ARGUMENTS

            loop_blocking(call, order.warm_up())
            return loop_blocking(call, order).plain()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else LINKS)
