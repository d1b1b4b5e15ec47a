"""Bad input while an app serves: each is answered with what is wrong, and the app goes on as if nothing had been."""

from __future__ import annotations

import http.client
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgpack
import pytest

from running import PATIENCE, RunningApp, wait_until, write_app
from svcd.link.blocking import BlockingClient
from svcd_ipc.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = """
    from typing import Any

    import svcd

    class Model:
        pass

    @svcd.service
    class Words:
        @svcd.api
        async def split(self, text: str) -> list[str]:
            return text.split()

        @svcd.api
        def model(self) -> Any:
            return {"model": Model()}

        @svcd.api
        def flood(self) -> str:
            return "x" * (100 << 20)  # bytes of that size would travel by shared memory

    @svcd.service
    class Entry:
        words = svcd.depends(Words)

        @svcd.api
        async def count(self, text: str, times: int = 1) -> int:
            return times * len(await self.words.split(text=text))

        @svcd.api
        async def size(self, image: bytes) -> int:
            return len(image)

        @svcd.api
        async def model(self) -> Any:
            return {"model": Model()}

        @svcd.api
        async def model_below(self) -> Any:
            return await self.words.to_async.model()

        @svcd.api
        async def flood(self) -> bytes:
            return bytes(100 << 20)

        @svcd.api
        async def flood_below(self) -> int:
            return len(await self.words.to_async.flood())
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """One app for all of these tests: it is to take no notice of any."""
    folder = write_app(tmp_path_factory.mktemp("calls"), SERVICE, entry="Entry")
    with RunningApp(folder, options=("--set", "app.max_body=1Mi")) as app:
        yield app.up()


@pytest.fixture
def app(serving: RunningApp) -> Iterator[RunningApp]:
    """The app, checked to be the same after the test."""
    before = {(row["service"], row["pid"]) for row in serving.rows()}
    yield serving
    assert serving.post("count", {"text": "a b"}) == (200, 2)
    assert {(row["service"], row["pid"]) for row in serving.rows()} == before
    assert {row["state"] for row in serving.rows()} == {"ready"}


BODIES: dict[str, tuple[bytes, str, list[str]]] = {
    "not JSON": (b'{"text": ', "", ["JSON"]),
    "no object": (b'["a"]', "", []),
    "a missing field": (b"{}", "text", ["Field required"]),
    "an extra field": (b'{"text": "a", "txt": 1}', "txt", ["Extra inputs are not permitted"]),
    "a wrong type": (b'{"text": "a", "times": "many"}', "times", ["integer"]),
    "another wrong type": (b'{"text": 3}', "text", ["string"]),
    "not UTF-8": (b'{"text": "\xff"}', "", []),
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_arguments_are_a_400_that_names_the_field(app: RunningApp, name: str) -> None:
    body, field, parts = BODIES[name]
    status, answer = app.post("count", body)
    error = answer["error"]
    assert (status, error["code"]) == (400, "invalid")
    assert error["message"].startswith("Entry.count: ")
    for part in parts:
        assert part in error["message"]
    assert not field or [detail["field"] for detail in error["details"]] == [field]


def test_a_body_over_the_limit_is_a_413(app: RunningApp) -> None:
    status, answer = app.post("size", bytes((1 << 20) + 1), "application/octet-stream")
    assert (status, answer["error"]["code"], answer["error"]["limit"]) == (413, "too_large", 1 << 20)
    assert app.post("size", bytes(1 << 20), "application/octet-stream") == (200, 1 << 20)


def test_a_body_over_the_limit_without_a_length_is_a_413(app: RunningApp) -> None:
    address = urlsplit(app.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not take what it will not read
        chunks = (bytes(1 << 16) for _ in range(100))
        connection.request("POST", "/size", chunks, {"Content-Type": "image/png"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    answer.read()
    connection.close()


@pytest.mark.parametrize(
    ("api", "owner", "said"),
    [
        ("model", "Entry.model", "Model"),
        ("model_below", "Words/0.model", "service.Model"),
        ("flood", "Entry.flood", "104857600 bytes"),
        ("flood_below", "Words/0.flood", "as a stream"),
    ],
)
def test_a_result_that_cannot_be_sent_names_type_and_api(app: RunningApp, api: str, owner: str, said: str) -> None:
    status, answer = app.post(api)
    error = answer["error"]
    assert (status, error["code"]) == (500, "bad_result"), error
    assert owner in error["message"]
    assert said in error["message"]
    assert "id" in error


def frame(value: Any) -> bytes:
    """A frame as the protocol has it: a length, then msgpack."""
    body = msgpack.packb(value)
    return struct.pack("<I", len(body)) + body


GARBAGE = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": bytes(reversed(range(256))) * 40,
    "an empty frame": struct.pack("<I", 0),
    "a huge frame": struct.pack("<I", 0xFFFFFFFF),
    "half a length": b"\x10\x00",
    "half a frame": struct.pack("<I", 100) + b"\x93",
    "no msgpack": struct.pack("<I", 4) + b"\xc1\xc1\xc1\xc1",
    "no array": frame({"a": 1}),
    "an unknown kind": frame(["dance", 1]),
    "a call before hello": frame(["call", 1, "split", {"text": "a"}]),
    "a hello of no version": frame(["hello", 99999, {}, []]),
    "a deep value": struct.pack("<I", 100_000) + b"\x91" * 100_000,
}


def sockets_of(app: RunningApp) -> list[str]:
    """Every socket at which something of the app takes frames; at http.sock it takes HTTP."""
    return [str(path) for path in sorted(app.runtime.rglob("*.sock")) if path.name != "http.sock"]


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_on_every_socket_of_the_app_ends_that_connection_alone(app: RunningApp, name: str) -> None:
    paths = sockets_of(app)
    assert len(paths) >= 4, "control, link and two replicas at least"
    is_half = name.startswith(("half", "nothing"))
    for path in paths:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE)
            peer.connect(path)
            with suppress(BrokenPipeError, ConnectionResetError):
                peer.sendall(GARBAGE[name])
            if is_half:  # it may go on: while it does not, and when it never will, others are served
                assert app.post("count", {"text": "a b"}) == (200, 2)
            else:
                read_to_end(peer)


def read_to_end(peer: socket.socket) -> bytes:
    """All that the other side says until it ends the connection."""
    said = b""
    with suppress(ConnectionResetError):
        while data := peer.recv(65536):
            said += data
    return said


def test_many_half_connections_at_once(app: RunningApp) -> None:
    path = next(path for path in sockets_of(app) if "/s/" in path)
    peers = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for peer in peers:
            peer.connect(path)
            peer.sendall(struct.pack("<I", 1 << 20))
        assert app.post("count", {"text": "a b"}) == (200, 2)
    finally:
        for peer in peers:
            peer.close()


def test_a_wrong_nonce_is_refused_at_the_link_and_changes_nothing(app: RunningApp) -> None:
    for service, replica, generation in (("Words", 0, 1), ("Words", 7, 1), ("Nobody", 0, 1), ("ingress", 0, 1)):
        who = {"app": app.name, "service": service, "replica": replica, "generation": generation}
        with pytest.raises(ProtocolError, match=rf"no process {service}/{replica}#{generation} with this nonce"):
            BlockingClient(app.runtime / "link.sock", {"role": "replica", **who, "nonce": "0" * 32})


def test_a_peer_without_the_apps_secret_is_refused_by_a_replica(app: RunningApp) -> None:
    path = next(path for path in sockets_of(app) if "/s/" in path)
    with pytest.raises(ProtocolError, match="secret"):
        BlockingClient(path, {"role": "stranger", "secret": "0" * 32})


def test_replicas_hear_of_nothing_but_their_own_connections(app: RunningApp) -> None:
    """What a peer that was refused leaves in a replica: no descriptor."""
    pid = app.row("Words")["pid"]

    def descriptors() -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    before = descriptors()
    for _ in range(20):
        for path in sockets_of(app):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                peer.sendall(GARBAGE["no msgpack"])
                read_to_end(peer)
    wait_until(lambda: descriptors() <= before, "the descriptors to be closed")
