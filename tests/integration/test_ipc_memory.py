"""Shared memory between real processes: what happens to it when one of them dies, or is refused something."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio

from leftovers import in_shm
from svcd_ipc.client import connect
from svcd_ipc.errors import ReplicaLost, ServiceUnavailable
from svcd_ipc.memory import Memory
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd_ipc.calls import IncomingCall

MANY = 1 << 20

PEER = """
import os, resource, sys, trio, numpy
from svcd_ipc.memory import of_process
from svcd_ipc.server import listen, serve

kept, held = [], []

async def handler(call):
    x = call.args.get("x")
    if call.api == "keep":
        kept.append(x)
    elif call.api == "kept":
        return [int(each.sum()) for each in kept]
    elif call.api == "drop":
        kept.clear()
    elif call.api == "plus_one":
        return x + 1
    elif call.api == "same":
        return x
    elif call.api == "hang":
        kept.append(x)
        print("hanging", flush=True)
        await trio.sleep_forever()
    elif call.api == "memory":
        memory = of_process()
        return [memory.used, memory.reason]
    return None

async def main():
    listener = listen(sys.argv[1], mode=0o666)
    if sys.argv[2] == "nobody":
        os.setresuid(65534, 65534, 65534)
    async with trio.open_nursery() as nursery:
        identity = {"service": "Peer", "replica": 0}
        await nursery.start(lambda task_status: serve(
            listener, handler, identity=identity, memory=of_process(), task_status=task_status))
        if sys.argv[2] == "no descriptors":  # room for the connection, but not for what comes over it
            of_process().descriptor
            last = max(map(int, os.listdir("/proc/self/fd")))
            while (free := os.open("/dev/null", os.O_RDONLY)) <= last:
                held.append(free)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, free + 1))
        print("ready", flush=True)

trio.run(main)
"""

CUT = """
import socket, sys, trio
from svcd_ipc import frames
from svcd_ipc.server import listen, serve
from svcd_ipc.memory import of_process
import numpy, os

async def handler(call):
    # Half a frame that refers to memory, and then nothing more: as a process that dies in the middle of a write.
    channel = channels[0]
    chunks = channel._connection.send_result(1, call.args["x"][100:])
    whole = b"".join(chunks)
    channel._sock.send(whole[: len(whole) // 2])
    os.kill(os.getpid(), 9)

channels = []

def keep_first(call):
    import gc
    from svcd_ipc.channel import Channel
    channels.extend(each for each in gc.get_objects() if isinstance(each, Channel))
    return True

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve(
            listen(sys.argv[1]), handler, identity={}, memory=of_process(), admit=keep_first, task_status=task_status))
        print("ready", flush=True)

trio.run(main)
"""


INTRUDER = """
import array, mmap, os, socket, struct, sys
import msgpack
from svcd_ipc import exttypes, frames, mapping
from svcd_ipc.messages import MAGIC, MEMORY, VERSION

descriptor, _ = mapping.create(1 << 20)
os.setresuid(65534, 65534, 65534)
attack = sys.argv[2]
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.settimeout(60)
stream = sock.makefile("rb")

def send(message, descriptors=()):
    data = frames.pack(msgpack.packb(message))
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else [])

def receive():
    head = stream.read(4)
    if len(head) < 4:
        return None
    return msgpack.unpackb(stream.read(struct.unpack("<I", head)[0]))

send([0, MAGIC, VERSION, {"service": "Intruder", "replica": 0}, [MEMORY]])
hello = receive()
if MEMORY in hello[4]:
    sys.exit("memory was offered")
if attack == "arena":
    reading, writing = os.pipe()
    send([15, 1 << 20], [descriptor, writing])
elif attack == "reference":
    for side in (0, 1):
        told = b"|u1|4096|".ljust(16) + struct.pack("<BQQQ", side, 1, 0, 4096)
        send([1, side + 1, "same", {"x": msgpack.ExtType(exttypes.SHARED, told)}, None, None, 0, 0])
elif attack == "giant":
    sock.sendall(struct.pack("<I", 0xFFFFFFF0))
elif attack == "half":
    sock.sendall(struct.pack("<I", 1 << 20) + bytes(1000))
    print("sent", flush=True)
    sys.stdin.read()
for _ in range(2):
    print(receive(), flush=True)
"""


@contextmanager
def peer(path: Path, kind: str = "", program: str = PEER) -> Iterator[subprocess.Popen[str]]:
    """Run a peer that serves at `path`."""
    with running([sys.executable, "-c", program, str(path), kind]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program that is killed in the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def arenas_mapped() -> int:
    return Path("/proc/self/maps").read_text().count("svcd-arena")


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Return this side's arena; after the test nothing of it is held, and no descriptor or mapping is left."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is enough
    mapped = arenas_mapped()
    shm = in_shm()
    memory = Memory(64 * MANY)
    yield memory
    gc.collect()
    assert memory.used == 0
    memory.close()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - as above
    assert arenas_mapped() <= mapped
    assert in_shm() <= shm


async def until_free(memory: Memory) -> None:
    while memory.used:
        gc.collect()
        await trio.sleep(0.01)


async def test_a_peer_killed_while_it_holds_views(nursery: trio.Nursery, tmp_path: Path, memory: Memory) -> None:
    with peer(tmp_path / "s") as process:
        channel = await connect(tmp_path / "s", nursery=nursery, memory=memory)
        x = np.arange(MANY, dtype="u4")
        for _ in range(3):
            await channel.call("keep", {"x": x})
        assert memory.used == 3 * x.nbytes
        kept = await channel.call("plus_one", {"x": x})
        process.kill()
        await channel.closed.wait()
        await until_free(memory)
        assert (kept == x + 1).all()  # the dead one's memory lives as long as somebody looks at it


async def test_a_peer_killed_while_it_is_sent_a_reference(
    nursery: trio.Nursery, tmp_path: Path, memory: Memory
) -> None:
    with peer(tmp_path / "s") as process:
        channel = await connect(tmp_path / "s", nursery=nursery, memory=memory)
        await channel.call("keep", {"x": None})
        process.send_signal(signal.SIGSTOP)

        async def call() -> None:
            with pytest.raises((ReplicaLost, ServiceUnavailable)):  # the latter where it had not left yet
                await channel.call("plus_one", {"x": np.ones(MANY, "f4")})

        async with trio.open_nursery() as calls:
            for _ in range(4):
                calls.start_soon(call)
            while memory.used < 4 * 4 * MANY:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
            process.kill()
        await until_free(memory)


async def test_a_peer_killed_in_the_middle_of_a_frame_that_refers_to_memory(
    nursery: trio.Nursery, tmp_path: Path, memory: Memory
) -> None:
    with peer(tmp_path / "s", program=CUT):
        channel = await connect(tmp_path / "s", nursery=nursery, memory=memory)
        with pytest.raises(ReplicaLost, match=r"ended the connection after \d+ of \d+ bytes of a frame"):
            await channel.call("cut", {"x": np.ones(MANY, "f4")})
        await until_free(memory)


async def test_a_view_outlives_its_connection_and_is_reclaimed_with_its_last_holder(
    nursery: trio.Nursery, tmp_path: Path, memory: Memory
) -> None:
    with peer(tmp_path / "s"):
        x = np.arange(MANY, dtype="u4")
        first = await connect(tmp_path / "s", nursery=nursery, memory=memory)
        await first.call("keep", {"x": x})
        first.close()
        await first.closed.wait()
        second = await connect(tmp_path / "s", nursery=nursery, memory=memory)
        for start in range(1, 30):  # more than fits beside it, were it not used again and again
            assert ((await second.call("plus_one", {"x": x + start})) == x + start + 1).all()
        assert await second.call("kept", {}) == [int(x.sum())]
        held = memory.used
        assert held >= x.nbytes
        await second.call("drop", {})
        await until_free(memory)
        second.close()


async def test_descriptors_that_are_refused(nursery: trio.Nursery, tmp_path: Path, memory: Memory) -> None:
    with peer(tmp_path / "s", "no descriptors"):
        channel = await connect(tmp_path / "s", nursery=nursery, memory=memory)
        x = np.arange(MANY, dtype="u4")
        assert ((await channel.call("plus_one", {"x": x})) == x + 1).all()
        assert memory.used == 0
        assert "too many open" in str(channel._handover.refusal)
        channel.close()


@pytest.mark.root
async def test_a_peer_of_another_user_gets_copies(nursery: trio.Nursery, open_folder: Path, memory: Memory) -> None:
    with peer(open_folder / "s", "nobody"):
        channel = await connect(open_folder / "s", nursery=nursery, memory=memory)
        assert channel.peer is not None
        x = np.arange(MANY, dtype="u4")
        assert ((await channel.call("plus_one", {"x": x})) == x + 1).all()
        assert memory.used == 0
        assert (await channel.call("memory", {}))[0] == 0
        channel.close()


@pytest.mark.root
@pytest.mark.parametrize(
    ("attack", "answer"),
    [
        ("arena", "when it was not its turn to"),
        ("reference", "ext type 8 is not registered here"),
        ("giant", "a frame of 4294967280 bytes"),
        ("half", "sent"),
    ],
)
async def test_a_peer_of_another_user_gets_nothing_and_holds_nobody_up(
    open_folder: Path, memory: Memory, attack: str, answer: str
) -> None:
    """It says that it shares memory, as it may not; the answer says what is wrong, and others are served meanwhile."""
    called = []

    async def same(call: IncomingCall) -> Any:
        called.append(call.peer.identity["service"])
        return call.args

    listener = listen(open_folder / "s", mode=0o666)
    friend_memory = Memory(64 * MANY)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve(
                listener, same, identity={"service": "Host"}, memory=memory, task_status=task_status
            )
        )
        friend = await connect(open_folder / "s", nursery=nursery, memory=friend_memory, identity={"service": "Friend"})
        x = np.arange(MANY, dtype="u4")
        view = (await friend.call("same", {"x": x}))["x"]  # so that there is something to read
        mapped = arenas_mapped()
        command = [sys.executable, "-c", INTRUDER, str(open_folder / "s"), attack]
        with running(command) as intruder:
            assert intruder.stdout is not None
            said = await trio.to_thread.run_sync(intruder.stdout.readline)
            assert answer in said
            assert "Intruder" not in called
            assert ((await friend.call("same", {"x": x}))["x"] == x).all()
            assert arenas_mapped() == mapped
        del view
        friend.close()
        await until_free(friend_memory)
        nursery.cancel_scope.cancel()
    friend_memory.close()  # after the ends of the connections, which keep a lifeline each
