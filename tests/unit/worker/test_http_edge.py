"""Bodies to arguments, results to bodies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import svcd
from svcd.worker import edge
from svcd.worker.portal import Portal
from svcd.worker.serve import LiveService
from svcd.worker.thread import ServiceThreads
from svcd_ipc import codec
from svcd_ipc.calls import IncomingCall
from svcd_ipc.errors import BadResult, InvalidArgument, UnknownApi
from svcd_ipc.messages import Hello

if TYPE_CHECKING:
    import trio


@dataclass
class Box:
    width: int


@svcd.service
class Face:
    @svcd.api
    async def add(self, a: int, b: int = 1) -> int:
        return a + b

    @svcd.api
    async def echo(self, value: Any = None) -> Any:
        return value

    @svcd.api
    def image(self, image: bytes, quality: int = 3) -> bytes:
        return image[:quality]

    @svcd.api
    def text(self, prompt: str) -> str:
        return prompt.upper()

    @svcd.api
    async def array(self, values: np.ndarray) -> np.ndarray:
        return values * 2

    @svcd.api
    async def form(self, box: Box, name: str, count: int, tags: list[str] | None = None) -> list[object]:
        return [box.width, name, count, tags]

    @svcd.api
    async def unsendable(self) -> object:
        return object()

    @svcd.api
    async def items(self, kind: str, n: int = 2) -> AsyncIterator[Any]:
        for i in range(n):
            yield {"str": f"a\n{i}", "bytes": b"%d" % i, "json": {"i": i}, "array": np.arange(i)}[kind]
        if kind == "json" and n == 7:
            raise ValueError("seven")

    @svcd.api
    def lines(self) -> Iterator[str]:
        yield from ()


@pytest.fixture
async def face(nursery: trio.Nursery) -> LiveService:
    threads = ServiceThreads("Face", Portal(nursery))
    threads.start()
    live = LiveService("Face", threads, max_concurrency=2)
    live.attach(Face())
    yield live
    threads.stop()


def request(live: LiveService, api: str, body: bytes | None = b"", **rest: Any) -> IncomingCall:
    args = {"api": api, "type": "application/json", "accept": ""} | rest
    if body is not None:
        args["body"] = body
    return IncomingCall("svcd.http", args, None, None, 0, Hello(1, {}))


async def ask(live: LiveService, api: str, body: bytes | None = b"", **rest: Any) -> Any:
    call = request(live, api, body, **rest)
    assert live.admit(call)
    return await live.handle(call)


PNG = b"\x89PNG"
MAP = codec.encode({"a": 3})
ANSWERS = [
    ("add", b'{"a": 1}', "application/json", "", ["application/json", b"2"]),
    ("add", b'{"a": 1}', "application/vnd.x+json; charset=utf-8", "*/*", ["application/json", b"2"]),
    ("add", b'{"a": 1}', "", "", ["application/json", b"2"]),
    ("add", MAP, "application/msgpack", "", ["application/json", b"4"]),
    ("add", MAP, "application/x-msgpack", "application/msgpack", ["application/msgpack", codec.encode(4)]),
    ("echo", b"", "application/json", "", ["application/json", b"null"]),
    ("echo", b"", "", "text/html, application/json;q=0.9", ["application/json", b"null"]),
    ("image", PNG, "image/png", "", ["application/octet-stream", b"\x89PN"]),
    ("image", PNG, "application/octet-stream", "application/json", ["application/json", b'"iVBO"']),
    ("text", "grüße".encode(), "text/plain; charset=utf-8", "", ["text/plain; charset=utf-8", "GRÜSSE".encode()]),
    ("text", b"gr\xfc\xdfe", 'text/plain; Charset="Latin-1"', "", ["text/plain; charset=utf-8", "GRÜSSE".encode()]),
    ("text", b"a", "text/csv;charset=US-ASCII; header=absent", "", ["text/plain; charset=utf-8", b"A"]),
    ("text", b'{"prompt": "a"}', "application/json", "application/json", ["application/json", b'"A"']),
    ("array", b'{"values": [[1, 2]]}', "", "", ["application/json", b"[[2,4]]"]),
]


@pytest.mark.parametrize(("api", "body", "kind", "accept", "answer"), ANSWERS)
async def test_bodies_become_answers(
    api: str, body: bytes, kind: str, accept: str, answer: list[Any], face: LiveService
) -> None:
    assert await ask(face, api, body, type=kind, accept=accept) == answer
    assert face.taken == 0


async def test_arrays_stay_binary_in_msgpack(face: LiveService) -> None:
    body = codec.encode({"values": np.arange(3)})
    kind, answer = await ask(face, "array", body, type="application/msgpack", accept="application/msgpack")
    assert kind == "application/msgpack"
    assert codec.decode(answer).tolist() == [0, 2, 4]


BAD = [
    ("add", b"{", "application/json", "body", "Invalid JSON"),
    ("add", b"[1]", "", "body", "Input should be an object"),
    ("add", b'{"b": 1}', "", "a", "Field required"),
    ("add", b'{"a": 1, "c": 2}', "", "c", "Extra inputs"),
    ("add", b"\xc1", "application/msgpack", "body", "not msgpack"),
    ("add", codec.encode([1]), "application/msgpack", "body", "should be a map"),
    ("add", codec.encode({1: 2}), "application/msgpack", "body", "should be a map"),
    ("add", PNG, "image/png", "body", "image/png needs an api with a single bytes parameter; post a JSON object"),
    ("add", b"x", "text/plain", "body", "text/plain needs an api with a single str parameter"),
    ("text", b"\xff", "text/plain", "body", "not UTF-8"),
    ("text", b"\xff", "text/plain; charset=us-ascii", "body", "not US-ASCII"),
    (
        "text",
        b"a",
        "text/plain; charset=nope",
        "body",
        "charset=nope is not supported; it may be utf-8, us-ascii, iso-",
    ),
    ("text", b"a", "text/plain; charset=zlib", "body", "charset=zlib is not supported"),
    ("add", b'{"a": "3"}', "application/json", "a", "valid integer"),
    ("add", b'{"a": true}', "application/json", "a", "valid integer"),
]


@pytest.mark.parametrize(("api", "body", "kind", "field", "message"), BAD)
async def test_a_wrong_body_names_the_field(
    api: str, body: bytes, kind: str, field: str, message: str, face: LiveService
) -> None:
    with pytest.raises(InvalidArgument, match=rf"^Face\.{api}: ") as caught:
        await ask(face, api, body, type=kind)
    [detail] = caught.value.details
    assert detail["field"] == field
    assert message in detail["message"]
    assert face.taken == 0


async def test_forms_are_read_by_annotation(face: LiveService) -> None:
    form = {"box": '{"width": 3}', "name": "12", "count": "4", "tags": '["a"]'}
    assert await ask(face, "form", None, form=form) == ["application/json", b'[3,"12",4,["a"]]']
    assert await ask(face, "image", None, form={"image": PNG}) == ["application/octet-stream", b"\x89PN"]
    once = form | {"tags": "a"}
    assert await ask(face, "form", None, form=once) == ["application/json", b'[3,"12",4,["a"]]']
    twice = form | {"tags": ["a", "b"]}
    assert await ask(face, "form", None, form=twice) == ["application/json", b'[3,"12",4,["a","b"]]']
    with pytest.raises(InvalidArgument, match=r"^Face\.form: count: Input should be an integer of 64 bits"):
        await ask(face, "form", None, form=form | {"count": str(10**20)})
    with pytest.raises(InvalidArgument, match="name: Input should be a valid string"):
        await ask(face, "form", None, form=form | {"name": ["a", "b"]})
    with pytest.raises(InvalidArgument) as caught:
        await ask(face, "form", None, form={"box": "{", "name": "n", "count": "many"})
    assert {detail["field"].partition(".")[0] for detail in caught.value.details} == {"box", "count"}


async def test_unknown_apis_and_bad_results_are_named(face: LiveService) -> None:
    with pytest.raises(UnknownApi, match=r"Face has no api 'ad'; did you mean 'add'\?"):
        await ask(face, "ad")
    with pytest.raises(BadResult, match=r"Face\.unsendable returned what cannot travel: result: a value of"):
        await ask(face, "unsendable")
    with pytest.raises(BadResult, match=r"Face\.unsendable returned .*object"):
        await ask(face, "unsendable", accept="application/msgpack")


STREAMS = [
    ("str", "", ["text/plain; charset=utf-8", b"a\n0", b"a\n1"]),
    ("bytes", "", ["application/octet-stream", b"0", b"1"]),
    ("json", "", ["application/x-ndjson", b'{"i":0}\n', b'{"i":1}\n']),
    ("array", "", ["application/x-ndjson", b"[]\n", b"[0]\n"]),
    ("json", "text/event-stream", ["text/event-stream", b'data: {"i":0}\n\n', b'data: {"i":1}\n\n']),
    ("str", "text/event-stream", ["text/event-stream", b"data: a\ndata: 0\n\n", b"data: a\ndata: 1\n\n"]),
    ("json", "application/msgpack", ["application/msgpack-seq", codec.encode({"i": 0}), codec.encode({"i": 1})]),
]


@pytest.mark.parametrize(("kind", "accept", "chunks"), STREAMS)
async def test_streams_become_chunks(kind: str, accept: str, chunks: list[Any], face: LiveService) -> None:
    stream = await ask(face, "items", json.dumps({"kind": kind}).encode(), accept=accept)
    assert face.taken == 1
    assert [chunk async for chunk in stream] == chunks
    await stream.aclose()
    assert face.taken == 0


async def test_an_empty_stream_still_has_its_type(face: LiveService) -> None:
    assert [chunk async for chunk in await ask(face, "lines")] == ["text/plain; charset=utf-8"]
    stream = await ask(face, "items", b'{"kind": "json", "n": 0}')
    assert [chunk async for chunk in stream] == ["application/x-ndjson"]


async def test_an_error_in_a_stream_comes_after_what_was_sent(face: LiveService) -> None:
    stream = await ask(face, "items", b'{"kind": "json", "n": 7}')
    chunks = [await anext(stream) for _ in range(8)]
    assert chunks[-1] == b'{"i":6}\n'
    with pytest.raises(ValueError, match="seven"):
        await anext(stream)
    assert face.taken == 0


async def test_calls_over_http_take_slots_like_any_other(face: LiveService) -> None:
    calls = [request(face, "add") for _ in range(3)]
    assert [face.admit(call) for call in calls] == [True, True, False]
    schema = IncomingCall("svcd.schema", {}, None, None, 0, Hello(1, {}))
    assert face.admit(schema)
    told = await face.handle(schema)
    assert set(told["apis"]) == set(face.apis)
    assert told["mounts"] == []
    assert (told["apis"]["image"]["bytes_body"], told["apis"]["image"]["text_body"]) == ("image", None)
    assert told["apis"]["text"]["answers"] == ["text/plain", "application/json", "application/msgpack"]


def test_events_keep_every_line() -> None:
    assert edge.event("") == b"data: \n\n"
    assert edge.event("a\r\nb") == b"data: a\ndata: b\n\n"
    assert edge.event("a\n") == b"data: a\ndata: \n\n"
    assert edge.event("a\u2028b\x0c") == "data: a\u2028b\x0c\n\n".encode()
