"""Client and server on a socket in the file system, the peer in a process of its own where it has to die."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from svcd_ipc.client import connect
from svcd_ipc.errors import ReplicaLost, ServiceUnavailable
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from svcd_ipc.channel import Channel, Hello, IncomingCall

REPLICA = """
import sys, trio
from svcd_ipc.server import listen, serve

async def handler(call):
    if call.api == "sleep":
        print("sleeping", flush=True)
        await trio.sleep_forever()
    return call.args

async def main():
    listener = listen(sys.argv[1])
    identity = {"service": "Classifier", "replica": 0}
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve(listener, handler, identity=identity, task_status=task_status))
        print("ready", flush=True)

trio.run(main)
"""


async def echo(call: IncomingCall) -> Any:
    return call.args


async def start(nursery: trio.Nursery, path: Path, handler: Any = echo, **options: Any) -> None:
    identity = {"service": "Classifier", "replica": 0}
    await nursery.start(
        lambda task_status: serve(listen(path), handler, identity=identity, task_status=task_status, **options)
    )


def open_descriptors() -> set[str]:
    return {descriptor.name for descriptor in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def replica(tmp_path: Path) -> Any:
    """Return (process, path) of a replica that answers `echo` and never answers `sleep`."""
    path = tmp_path / "s"
    with subprocess.Popen([sys.executable, "-c", REPLICA, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process, path
        process.kill()


async def test_several_clients_at_once(nursery: trio.Nursery, tmp_path: Path) -> None:
    channels: list[Channel] = []
    await start(nursery, tmp_path / "s", on_channel=channels.append)
    clients = [
        await connect(tmp_path / "s", nursery=nursery, identity={"service": "Entry", "replica": n}) for n in range(3)
    ]
    for n, client in enumerate(clients):
        assert await client.call("echo", {"n": n}) == {"n": n}
        assert str(client.peer) == "Classifier/0"
    assert sorted(str(channel.peer) for channel in channels) == ["Entry/0", "Entry/1", "Entry/2"]


async def test_the_server_may_call_its_clients(nursery: trio.Nursery, tmp_path: Path) -> None:
    channels: list[Channel] = []
    await start(nursery, tmp_path / "s", on_channel=channels.append)
    await connect(tmp_path / "s", nursery=nursery, handler=echo)
    await wait_all_tasks_blocked()
    assert await channels[0].call("echo", {"health": 1}) == {"health": 1}


async def test_a_refused_client_is_told_why(nursery: trio.Nursery, tmp_path: Path) -> None:
    def welcome(peer: Hello) -> None:
        if peer.identity.get("nonce") != "secret":
            raise PermissionError("wrong nonce")

    await start(nursery, tmp_path / "s", welcome=welcome)
    with pytest.raises(ServiceUnavailable, match=r"s: .* ended the connection: .*wrong nonce"):
        await connect(tmp_path / "s", nursery=nursery, identity={"nonce": "guess"})
    client = await connect(tmp_path / "s", nursery=nursery, identity={"nonce": "secret"})
    assert await client.call("echo", {}) == {}


async def test_nobody_listens(nursery: trio.Nursery, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="nobody: cannot connect: No such file"):
        await connect(tmp_path / "nobody", nursery=nursery)
    listen(tmp_path / "dead").close()
    with pytest.raises(ServiceUnavailable, match="dead: cannot connect: Connection refused"):
        await connect(tmp_path / "dead", nursery=nursery)


async def test_garbage_and_half_frames_end_only_their_connection(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = tmp_path / "s"
    await start(nursery, path)
    client = await connect(path, nursery=nursery)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000, b"\x05\0\0\0\x95", b"\0", b""):
        rogue = await trio.open_unix_socket(str(path))
        await rogue.send_all(data)
        assert await client.call("echo", {"n": 1}) == {"n": 1}
        await rogue.aclose()
        assert await client.call("echo", {"n": 2}) == {"n": 2}


async def test_serving_ends_with_its_scope_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_descriptors()
    async with trio.open_nursery() as nursery:
        await start(nursery, tmp_path / "s")
        client = await connect(tmp_path / "s", nursery=nursery)
        await client.call("echo", {})
        nursery.cancel_scope.cancel()
    assert open_descriptors() == before
    assert client.closed.is_set()


async def test_kill_during_calls(nursery: trio.Nursery, replica: Any) -> None:
    process, path = replica
    client = await connect(path, nursery=nursery)
    lost = 0

    async def call() -> None:
        nonlocal lost
        with pytest.raises(ReplicaLost, match=r"Classifier/0\.sleep"):
            await client.call("sleep", {})
        lost += 1

    async with trio.open_nursery() as calls:
        for _ in range(10):
            calls.start_soon(call)
        await trio.to_thread.run_sync(lambda: [process.stdout.readline() for _ in range(10)])
        process.kill()
    assert lost == 10
    await client.closed.wait()
    with pytest.raises(ServiceUnavailable):
        await client.call("echo", {})


async def test_kill_during_a_stream_of_calls(nursery: trio.Nursery, replica: Any) -> None:
    process, path = replica
    client = await connect(path, nursery=nursery)
    answered = 0

    async def call_on() -> None:
        nonlocal answered
        while True:
            assert await client.call("echo", {"n": answered}) == {"n": answered}
            answered += 1
            if answered == 200:
                process.kill()

    with pytest.raises((ReplicaLost, ServiceUnavailable)):
        await call_on()
    assert answered >= 200


# listen


def test_a_socket_file_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path).close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    with listen(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    with listen(tmp_path / "s"):
        with pytest.raises(OSError, match="Address already in use"):
            listen(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="Address already in use"):
        listen(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_path_that_is_too_long_is_refused_with_its_length(tmp_path: Path) -> None:
    path = f"/tmp/{'x' * 103}"
    with pytest.raises(ValueError, match="may have 107 bytes, this one has 108; use a shorter folder"):
        listen(path)
    listen(path[:-1]).close()
    Path(path[:-1]).unlink()
