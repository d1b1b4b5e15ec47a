"""The services of tests/http_app.py: apis of every shape, and two applications beside them."""

# ruff: noqa: T201, B008  (tests look for what is printed; FastAPI is told of dependencies so)

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - annotations of apis are read at run time
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import numpy as np
import trio
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import svcd

Addend = Annotated[int, Field(ge=-(2**62), le=2**62)]
"""Two of them have a sum that can travel."""


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Box(BaseModel):
    """Something with a width."""

    width: int
    label: str | None = None


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)


@svcd.service
class Words:
    @svcd.api
    async def count(self, text: str) -> int:
        return len(text)

    @svcd.api
    async def wait(self, seconds: float) -> None:
        print("words wait", flush=True)
        try:
            await trio.sleep(seconds)
        finally:
            print("words are done", flush=True)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    print("web up", flush=True)
    yield {"from_lifespan": "kept"}
    print("web down", flush=True)


web = FastAPI(title="Mounted", lifespan=lifespan)


def the_service(request: Request) -> Everything:
    return request.state.service


def limit(most: int = 3) -> int:
    return most


@web.get("/hello/{name}")
async def hello(
    request: Request, name: str, most: int = Depends(limit), service: Any = Depends(the_service)
) -> dict[str, Any]:
    return {
        "name": name[:most],
        "words": await service.words.count(text=name),
        "state": request.state.from_lifespan,
        "root": request.scope["root_path"],
        "trace": request.headers["traceparent"],
    }


@web.post("/items")
def make(item: Item) -> Item:
    """A def endpoint, which FastAPI runs on a thread."""
    return item


@web.api_route("/size", methods=["PUT", "POST", "DELETE"])
async def size(request: Request) -> dict[str, Any]:
    return {"method": request.method, "size": len(await request.body()), "query": dict(request.query_params)}


@web.get("/boom")
async def boom() -> None:
    raise ValueError("in the application")


@web.get("/wait")
async def wait(service: Any = Depends(the_service)) -> None:
    await service.words.wait(seconds=60)


@web.get("/numbers")
async def numbers(count: int = 100_000, size: int = 1000) -> StreamingResponse:
    async def produce() -> AsyncIterator[bytes]:
        for number in range(count):
            Everything.sent = number
            yield b"%d" % number + b"." * (size - 1 - len(str(number))) + b"\n"

    return StreamingResponse(produce(), media_type="text/plain")


@web.get("/sent")
async def sent() -> int:
    return Everything.sent


@web.get("/broken")
async def broken() -> StreamingResponse:
    async def produce() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("after one")

    return StreamingResponse(produce())


@web.get("/later")
async def later(tasks: BackgroundTasks) -> str:
    async def work() -> None:
        await trio.sleep(0.05)
        print("later is done", flush=True)

    tasks.add_task(work)
    return "now"


def make_small(service: Everything) -> Starlette:
    async def count(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(await service.words.count(text=request.query_params["text"])))

    return Starlette(routes=[Route("/count", count)])


@svcd.service
@svcd.asgi_app(web, path="/web")
@svcd.asgi_app(make_small, path="/web/small")
class Everything:
    words = svcd.depends(Words)
    sent = 0

    @svcd.api
    async def add(self, a: Addend, b: Addend = 1) -> int:
        """Add two numbers.

        The second may be left out.
        """
        return a + b

    @svcd.api
    async def upper(self, text: str) -> str:
        return text.upper()

    @svcd.api
    async def size(self, image: bytes, mood: Mood = Mood.GOOD) -> dict[str, int | str]:
        return {"size": len(image), "mood": mood.value}

    @svcd.api
    async def first(self, files: list[bytes], n: Annotated[int, Field(ge=0)] = 1) -> bytes:
        return b"".join(file[:n] for file in files)

    @svcd.api
    def pack(self, box: Box, tags: list[str] | None = None, kind: Literal["a", "b"] = "a") -> Box:
        return box

    @svcd.api
    async def tokens(self, prompt: str, n: Annotated[int, Field(ge=0, le=100)] = 3) -> AsyncIterator[str]:
        for number in range(n):
            yield f"{prompt}{number} "
            await trio.lowlevel.checkpoint()

    @svcd.api
    def rows(self, n: Annotated[int, Field(ge=0, le=20)]) -> Iterator[Box]:
        for number in range(n):
            yield Box(width=number)

    @svcd.task(idempotent=True)
    async def keep(self, box: Box, n: Annotated[int, Field(ge=0)] = 1) -> Box:
        """Keep a box."""
        return box


@svcd.service
class Odd(Everything):
    """What no public client would be shown: apis that fail, wait, and take arrays."""

    @svcd.api
    async def double(self, x: np.ndarray) -> np.ndarray:
        return x * 2

    @svcd.api
    async def echo(self, value: Any) -> Any:
        return value

    @svcd.api
    async def fail(self) -> int:
        raise KeyError("secret")

    @svcd.api
    async def fail_after(self, n: int) -> AsyncIterator[Any]:
        for number in range(n):
            yield {"array": np.arange(number), "number": number}
        raise ValueError("secret")

    @svcd.api
    async def wait(self, seconds: float) -> None:
        await self.words.wait(seconds=seconds)

    @svcd.api
    def block(self, seconds: float) -> float:
        self.words.wait(seconds=seconds)
        return seconds

    @svcd.api
    async def total(self, numbers: AsyncIterator[float], times: int = 1, label: str = "") -> str:
        total = 0.0
        async for number in numbers:
            total += number
        return f"{label}{total * times}"

    @svcd.api
    def running(self, numbers: Iterator[int]) -> Iterator[int]:
        total = 0
        for number in numbers:
            total += number
            yield total

    @svcd.api
    async def boxes(self, boxes: AsyncIterator[Box]) -> list[str]:
        return [box.model_dump_json() async for box in boxes]

    @svcd.api
    async def count_bytes(self, parts: AsyncIterator[bytes], pause: float = 0) -> int:
        size = 0
        try:
            async for part in parts:
                if not size:
                    print(f"begins with {len(part)} bytes", flush=True)
                size += len(part)
                await trio.sleep(pause)
        except trio.Cancelled:
            print(f"left after {size} bytes")
            raise
        return size

    @svcd.api
    async def shout(self, words: AsyncIterator[str]) -> AsyncIterator[str]:
        async for word in words:
            yield word.upper()

    @svcd.api
    async def scaled(self, arrays: AsyncIterator[np.ndarray], by: np.ndarray) -> AsyncIterator[np.ndarray]:
        async for array in arrays:
            yield array * by

    @svcd.api
    async def first_two(self, numbers: AsyncIterator[int]) -> list[int]:
        return [await anext(numbers), await anext(numbers)]

    @svcd.api
    async def forever(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            print("forever has ended", flush=True)
