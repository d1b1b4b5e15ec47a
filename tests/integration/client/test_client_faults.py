"""What is sent again and what is not: a server that a script plays counts the requests that it got."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import svcd
from svcd.client import wire
from svcd.values.media import MSGPACK
from svcd_ipc import codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def answer(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} ", f"content-type: {content_type}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "connection: close", "", "")).encode() + body


def problem(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "because"}}).encode()


ARGS = codec.encode({"a": 1})
GOOD = answer(200, codec.encode(7), MSGPACK)
BUSY = answer(503, problem("unavailable"), retry_after="0")


@contextmanager
def scripted(path: Path, answers: list[bytes]) -> Iterator[list[bytes]]:
    """Serve each answer to one connection; yields the requests that came."""
    requests: list[bytes] = []

    def serve() -> None:
        for each in answers:
            connection, _ = listener.accept()
            with connection:
                request = b""
                while not request.endswith(ARGS):
                    request += connection.recv(65536)
                requests.append(request)
                connection.sendall(each)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield requests
        thread.join()


def test_a_503_is_sent_again_because_it_was_never_run(tmp_path: Path) -> None:
    with (
        scripted(tmp_path / "x.sock", [BUSY, BUSY, GOOD]) as requests,
        svcd.Client(f"unix:{tmp_path}/x.sock") as client,
    ):
        assert client.add(a=1) == 7
    assert len(requests) == 3


def test_only_as_often_as_it_may(tmp_path: Path) -> None:
    client = svcd.Client(f"unix:{tmp_path}/x.sock", retries=1)
    with scripted(tmp_path / "x.sock", [BUSY, BUSY]) as requests, client, pytest.raises(svcd.ServiceUnavailable):
        client.add(a=1)
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (answer(502, problem("lost")), svcd.ReplicaLost),
        (answer(504, problem("deadline")), svcd.DeadlineExceeded),
        (answer(429, problem("overloaded")), svcd.Overloaded),
        (answer(400, problem("malformed")), svcd.InvalidArgument),
        (answer(500, problem("remote")), svcd.RemoteError),
        (answer(404, b"<html>", "text/html"), svcd.UnknownApi),
        (answer(418, b"<html>", "text/html"), svcd.InvalidArgument),
        (answer(502, b"<html>", "text/html"), svcd.ReplicaLost),
        (answer(200, b"<html>", "text/html"), svcd.BadResult),
        (answer(200, b"\xc1", MSGPACK), svcd.BadResult),
        (b"", svcd.ReplicaLost),
        (GOOD[:-1], svcd.ReplicaLost),
    ],
)
def test_whatever_may_have_run_is_not_sent_again(tmp_path: Path, told: bytes, error: type[svcd.CallError]) -> None:
    client = svcd.Client(f"unix:{tmp_path}/x.sock")
    with scripted(tmp_path / "x.sock", [told]) as requests, client, pytest.raises(error):
        client.add(a=1)
    assert len(requests) == 1


def test_a_call_that_was_not_taken_whole_is_sent_again(tmp_path: Path) -> None:
    big = b"x" * 10_000_000

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.close()  # with most of the body still to come: such a call is not run
        connection, _ = listener.accept()
        with connection:
            received = 0
            while received < len(big):
                received += len(connection.recv(1 << 20))
            connection.sendall(GOOD)

    with socket.socket(socket.AF_UNIX) as listener, svcd.Client(f"unix:{tmp_path}/x.sock") as client:
        listener.bind(f"{tmp_path}/x.sock")
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        assert client.size(image=big) == 7
        thread.join()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_items_are_found_wherever_chunks_are_cut(size: int) -> None:
    values = [{"a": [1, 2, None]}, "x" * 40, b"\x00\xff", 2**40, 1.5, []]
    data = b"".join(map(codec.encode, values))
    items = wire.Items("Mood.split")
    found = [item for start in range(0, len(data), size) for item in items.feed(data[start : start + size])]
    assert found == values
