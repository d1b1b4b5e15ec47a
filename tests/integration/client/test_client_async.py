"""svcd.AsyncClient, on trio and on asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

import svcd
from http_app import printed
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import RunningApp


def test_calls_streams_and_errors(address: str, run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with svcd.AsyncClient(address) as client:
            assert await client.add(a=1) == 2
            assert (await client.double(x=np.arange(3))).tolist() == [0, 2, 4]
            assert [item async for item in client.tokens(prompt="a", n=2)] == ["a0 ", "a1 "]
            items = client.fail_after(n=1)
            assert (await anext(items))["number"] == 0
            with pytest.raises(svcd.RemoteError):
                await anext(items)
            with pytest.raises(svcd.InvalidArgument):
                await client.add()
            with pytest.raises(svcd.DeadlineExceeded):
                await client.within(0.2).wait(seconds=60.0)
            with pytest.raises(TypeError, match="iterate over it with async for"):
                await client.tokens(prompt="a")
            with pytest.raises(TypeError, match="await it"):
                await anext(client.add(a=1))

    run(main)


def test_many_at_once(app: RunningApp, run: Callable[..., Any]) -> None:
    answers: dict[int, int] = {}

    async def main() -> None:
        async with svcd.AsyncClient(app.url) as client, anyio.create_task_group() as group:

            async def one(number: int) -> None:
                answers[number] = await client.add(a=number)

            for number in range(300):
                group.start_soon(one, number)

    run(main)
    assert answers == {number: number + 1 for number in range(300)}


def test_cancelling_the_caller_cancels_the_call(app: RunningApp, run: Callable[..., Any]) -> None:
    waits, ends = (printed(app).count(text) for text in ("words wait", "words are done"))

    async def main() -> None:
        async with svcd.AsyncClient(app.url) as client, anyio.create_task_group() as group:
            group.start_soon(call, client)
            await anyio.to_thread.run_sync(
                lambda: wait_until(lambda: printed(app).count("words wait") > waits, "the call to run")
            )
            group.cancel_scope.cancel()

    async def call(client: svcd.AsyncClient) -> None:
        await client.wait(seconds=60.0)

    run(main)
    wait_until(lambda: printed(app).count("words are done") > ends, "the call to be cancelled")


def test_leaving_a_stream_cancels_it(app: RunningApp, run: Callable[..., Any]) -> None:
    before = printed(app).count("forever has ended")

    async def main() -> None:
        async with svcd.AsyncClient(app.url) as client, client.forever() as items:
            async for item in items:
                if item == 3:
                    break

    run(main)
    wait_until(lambda: printed(app).count("forever has ended") > before, "the api to be cancelled")
