"""A load of HTTP requests from one blocking process: the same for every server, and quicker than any of them."""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

from load import ARGUMENTS, Sample

if TYPE_CHECKING:
    from load import Order

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
BODY = json.dumps(ARGUMENTS).encode()


def is_serving(url: str) -> bool:
    """Tell whether one request is answered as it should be."""
    request = urllib.request.Request(url, BODY, {"content-type": "application/json"})  # noqa: S310 - http of this machine
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
            return bool(json.load(response) == ARGUMENTS)
    except OSError:
        return False


def measure(port: int, path: str, order: Order) -> Sample:
    """Keep `in_flight` connections busy, one request at a time on each; `calls` and `seconds` bound it."""
    sample = Sample()
    for each in (order.warm_up(), order):
        sample = _round(port, path, each)
    return sample


def _round(port: int, path: str, order: Order) -> Sample:
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
    sample, clock = Sample(), time.perf_counter
    with selectors.DefaultSelector() as selector:
        connections = [_Connection(port) for _ in range(order.in_flight)]
        for one in connections:
            selector.register(one.socket, selectors.EVENT_READ, one)
        begun = len(connections)
        start = clock()
        for one in connections:
            one.ask(request, clock())
        while any(one.is_waiting for one in connections):
            for key, _ in selector.select(timeout=30) or [(None, None)]:
                if key is None:  # nobody has answered for that long
                    sample.lost += sum(one.is_waiting for one in connections)
                    return sample
                one = key.data
                answer = one.read()
                if answer is None:
                    continue
                now = clock()
                if answer:
                    sample.latencies.append(now - one.asked)
                else:
                    sample.lost += 1
                    selector.unregister(one.socket)
                    continue
                if begun < order.calls and now < start + order.seconds:
                    begun += 1
                    one.ask(request, now)
        sample.elapsed = clock() - start
        for one in connections:
            one.socket.close()
    return sample


class _Connection:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = 0.0
        self.is_waiting = False
        self._data = b""

    def ask(self, request: bytes, now: float) -> None:
        """Send a request."""
        self.asked, self.is_waiting, self._data = now, True, b""
        self.socket.sendall(request)

    def read(self) -> bool | None:
        """Return whether the answer is right, or None while it is incomplete."""
        data = self.socket.recv(64 * 1024)
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if data and not end:
            return None
        length = _LENGTH.search(head)
        if length is None:  # in chunks: Ray Serve
            if data and not body.endswith(_LAST_CHUNK):
                return None
            body = body.partition(b"\r\n")[2].partition(b"\r\n")[0]
        elif data and len(body) < int(length[1]):
            return None
        self.is_waiting = False
        return head.startswith(b"HTTP/1.1 200") and json.loads(body) == ARGUMENTS
