"""The floor: two blocking processes, one Unix socket, msgpack; raw bytes for arrays. What the machine allows."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgpack
from load import ARGUMENTS, Order, Sample

from contenders.servers import OverSocket

_LENGTH = struct.Struct("<I")
_ARRAY = struct.Struct("<QQ")  # bytes of the array, expected sum; both 0 when messages follow instead
_READ = 64 * 1024


def serve(path: str) -> None:
    """Echo on one connection after the other."""
    with socket.socket(socket.AF_UNIX) as listener:
        draft = f"{path}.new"
        listener.bind(draft)
        listener.listen()
        Path(draft).rename(path)
        while True:
            sock, _ = listener.accept()
            with sock:
                kind = sock.recv(1)
                if kind == b"m":
                    _serve_messages(sock)
                elif kind == b"a":
                    _serve_arrays(sock)


def _serve_messages(sock: socket.socket) -> None:
    packer, frames = msgpack.Packer(), Frames()
    while data := sock.recv(_READ):
        replies = []
        for _, number, _, arguments in frames.cut(data):
            body = packer.pack([2, number, arguments, 0, 0])
            replies.append(_LENGTH.pack(len(body)) + body)
        sock.sendall(b"".join(replies))


def _serve_arrays(sock: socket.socket) -> None:
    import array_work
    import numpy as np

    while head := _receive(sock, bytearray(_ARRAY.size)):
        size, expected = _ARRAY.unpack(head)
        array = np.frombuffer(_receive(sock, bytearray(size)), dtype=np.int32)
        sock.sendall(array_work.plus_one(array, expected).data)


def _receive(sock: socket.socket, room: bytearray) -> bytearray:
    """Fill `room`; empty when the peer has ended."""
    view, at = memoryview(room), 0
    while at < len(room):
        count = sock.recv_into(view[at:])
        if count == 0:
            return bytearray()
        at += count
    return room


class Session(OverSocket):
    """A server, and a client in this process."""

    module = "floor"

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small` and `array`."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.path))
            if order.what == "array":
                return _arrays(sock, order).plain()
            sock.sendall(b"m")
            _messages(sock, order.warm_up())
            return _messages(sock, order).plain()


def _messages(sock: socket.socket, order: Order) -> Sample:
    """Keep calls on their way over one connection, each replaced by the next once it is answered."""
    sample, packer, frames = Sample(), msgpack.Packer(), Frames()
    sent_at: dict[int, float] = {}
    clock = time.perf_counter

    def request(number: int) -> bytes:
        body = packer.pack([1, number, "echo", ARGUMENTS])
        sent_at[number] = clock()
        return _LENGTH.pack(len(body)) + body

    start = clock()
    todo = deque(range(order.calls))
    sock.sendall(b"".join(request(todo.popleft()) for _ in range(min(order.in_flight, len(todo)))))
    while sent_at:
        requests = []
        for _, number, value, _, _ in frames.cut(sock.recv(_READ)):
            now = clock()
            sample.latencies.append(now - sent_at.pop(number))
            sample.lost += value != ARGUMENTS
            if todo and now < start + order.seconds:
                requests.append(request(todo.popleft()))
        if requests:
            sock.sendall(b"".join(requests))
    sample.elapsed = clock() - start
    return sample


def _arrays(sock: socket.socket, order: Order) -> Sample:
    import array_work
    import numpy as np
    from load import loop_blocking

    sock.sendall(b"a")
    array, expected = array_work.make(order.size)
    room = bytearray(array.nbytes)

    def call() -> bool:
        sock.sendall(_ARRAY.pack(array.nbytes, expected))
        sock.sendall(array.data)
        answer = np.frombuffer(_receive(sock, room), dtype=np.int32)
        return array_work.is_plus_one(answer, array, expected)

    return loop_blocking(call, order)


class Frames:
    """Cuts a stream into messages, with the least code that is right."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[Any]:
        data = self._rest + data
        at, messages = 0, []
        while len(data) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            end = at + _LENGTH.size + length
            if end > len(data):
                break
            messages.append(msgpack.unpackb(data[at + _LENGTH.size : end]))
            at = end
        self._rest = data[at:]
        return messages


if __name__ == "__main__":
    serve(sys.argv[1])
