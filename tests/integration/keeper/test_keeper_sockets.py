"""Listening sockets that the keeper holds for its children."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from svcd.values.orders import Kill, Listen, ListenFailed, Listening, SpawnFailed

if TYPE_CHECKING:
    from kept_app import KeptApp

SERVE = """
import socket, sys
sockets = [socket.socket(fileno=number) for number in (3, 4)]
for each in sockets:
    each.setblocking(True)
while True:
    for each in sockets:
        connection, _ = each.accept()
        connection.sendall(f"{each.getsockname()[1]}".encode())
        connection.close()
"""


async def listening(app: KeptApp, name: str, host: str = "127.0.0.1", port: int = 0) -> Listening:
    app.send(Listen(name, host, port))
    return await app.expect(Listening)


async def test_children_get_them_as_descriptors_from_three_on_and_they_outlive_the_child(app: KeptApp) -> None:
    http, other = await listening(app, "http"), await listening(app, "other")
    for generation in range(2):
        name = f"ingress/0#{generation}"
        await app.spawned(name, [sys.executable, "-c", SERVE], sockets=("other", "http"))
        for port in (other.port, http.port):  # the order of the Spawn, not of the Listens
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                assert await stream.receive_some() == str(port).encode()
        app.send(Kill(name))
        await app.ended(name)
    # Nobody serves now, and still no connection is refused.
    await (await trio.open_tcp_stream("127.0.0.1", http.port)).aclose()


async def test_a_port_in_use_is_named_with_its_holder(app: KeptApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app.send(Listen("http", "127.0.0.1", port))
        failed = await app.expect(ListenFailed)
    assert failed.name == "http"
    assert failed.message.startswith(f"127.0.0.1:{port} is already in use by ")
    assert f"(pid {os.getpid()})" in failed.message
    app.send(Listen("http", "127.0.0.1", port))
    assert (await app.expect(Listening)).port == port


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1:0: Cannot assign requested address"),
        ("127.0.0.1", 70_000, "cannot listen on 127.0.0.1:70000: "),
        ("no such host", 0, "cannot listen on no such host:0: "),
    ],
)
async def test_addresses_that_cannot_be_bound(app: KeptApp, host: str, port: int, message: str) -> None:
    app.send(Listen("http", host, port))
    assert (await app.expect(ListenFailed)).message.startswith(message)


async def test_a_spawn_with_an_unknown_socket(app: KeptApp) -> None:
    app.spawn("ingress/0#1", ["true"], sockets=("http",))
    assert (await app.expect(SpawnFailed)).message == "no listening socket is named http"
