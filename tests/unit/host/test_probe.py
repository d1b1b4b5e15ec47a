"""Looks at a program from outside, against real sockets."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from svcd.host.free_port import choose_port, is_free
from svcd.host.notify import notify
from svcd.host.notify_socket import NotifySocket
from svcd.host.probe import accepts, answers

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.host.probe import Where


async def _answer(said: bytes, heard: list[bytes], stream: trio.SocketStream) -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):  # some look, and want to hear nothing
            heard.append(await stream.receive_some())
            await stream.send_all(said)


async def serve(nursery: trio.Nursery, said: bytes, heard: list[bytes]) -> tuple[str, int]:
    serve_tcp = partial(trio.serve_tcp, partial(_answer, said, heard), 0, host="127.0.0.1")
    (listener,) = await nursery.start(serve_tcp)
    port: int = listener.socket.getsockname()[1]
    return "127.0.0.1", port


@pytest.mark.parametrize(
    ("said", "amiss"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", ""),
        (b"HTTP/1.1 399 \r\n\r\n", ""),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "GET /health?x=1 was answered 400"),
        (b"HTTP/1.1 503 Loading\r\n\r\n", "GET /health?x=1 was answered 503"),
        (b"SSH-2.0-OpenSSH\r\n", "GET /health?x=1 was answered with something that is no HTTP"),
        (b"x" * 100_000, "GET /health?x=1 was answered with something that is no HTTP"),
        (b"", "GET /health?x=1 was not answered"),
    ],
)
async def test_an_answer_counts_by_its_status(nursery: trio.Nursery, said: bytes, amiss: str) -> None:
    heard: list[bytes] = []
    where = await serve(nursery, said, heard)
    assert await answers(where, "/health?x=1") == amiss
    assert heard[0].startswith(f"GET /health?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{where[1]}\r\n".encode())
    assert await accepts(where) == ""


async def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        where = bound.getsockname()
        told = f"127.0.0.1:{where[1]} does not accept a connection: Connection refused"
        assert [await accepts(where), await answers(where, "/")] == [told, told]
    path: Where = str(tmp_path / "s")
    assert await accepts(path) == f"{path} does not accept a connection: No such file or directory"


async def test_a_unix_socket_does_as_well(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        bound.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound.dup()))
        nursery.start_soon(trio.serve_listeners, partial(_answer, b"HTTP/1.1 204 \r\n\r\n", []), [listener])
        assert [await accepts(path), await answers(path, "/")] == ["", ""]


def test_a_port_that_is_chosen_is_free_and_no_source_of_connections() -> None:
    chosen: set[int] = set()
    for _ in range(20):
        port = choose_port("127.0.0.1", chosen)
        assert port not in chosen
        chosen.add(port)
    assert all(20_000 <= port < 65_536 for port in chosen)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.socket() as bound:
        bound.bind(("0.0.0.0", 0))
        port = bound.getsockname()[1]
        bound.listen()
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


async def test_what_is_told_to_a_notify_socket_arrives(tmp_path: Path) -> None:
    path = str(tmp_path / "n")
    with NotifySocket(path, [os.getuid()]) as ear:
        assert notify({"NOTIFY_SOCKET": path}, STATUS="loading 3 of 7", READY=1)
        assert await ear.receive() == {"STATUS": "loading 3 of 7", "READY": "1"}
    assert not (tmp_path / "n").exists()


def told_by_nobody(path: str) -> bool:
    """Send as another user; return whether that could be sent."""
    pid = os.fork()
    if not pid:
        os.setresuid(65534, 65534, 65534)
        os._exit(0 if notify({"NOTIFY_SOCKET": path}, READY=1) else 1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.root
async def test_other_users_are_not_believed(open_folder: Path) -> None:
    path = str(open_folder / "n")
    with NotifySocket(path, []) as ear:
        assert told_by_nobody(path)
        assert notify({"NOTIFY_SOCKET": path}, STATUS="root")
        assert await ear.receive() == {"STATUS": "root"}
