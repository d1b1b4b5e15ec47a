"""A service on asyncio above one on trio, and what they saw."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator  # noqa: TC003  (annotations of apis are read at run time)

import anyio.lowlevel
import sniffio
import trio
import trio.testing

import svcd

LIMIT = 20.0


class Record:
    """What the services of one test saw."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun = threading.Event()
        self.over = threading.Event()


RECORD = Record()


class OddError(Exception):
    pass


@svcd.service
class OnTrio:
    @svcd.api
    async def double(self, x: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * x

    @svcd.api
    def plainly(self, x: int) -> int:
        return 2 * x

    @svcd.api
    async def upto(self, n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                yield i
                await trio.lowlevel.checkpoint()
        finally:
            RECORD.notes.append("upto ended")
            RECORD.over.set()

    @svcd.api
    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @svcd.api
    async def hang(self) -> None:
        RECORD.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            RECORD.notes.append("hang cancelled")
            RECORD.over.set()

    @svcd.api
    async def fail(self) -> None:
        raise OddError("three is odd")

    @svcd.api
    async def remaining(self) -> float:
        return svcd.current_call().remaining()


@svcd.service(async_backend="asyncio")
class OnAsyncio:
    on_trio = svcd.depends(OnTrio)

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.from_init = self.on_trio.plainly(x=1)

    @svcd.on_startup
    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.background = asyncio.create_task(asyncio.sleep(1000))
        self.from_startup = await self.on_trio.double(x=1)

    @svcd.on_shutdown
    async def close(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        RECORD.notes.append(f"closed, background {'gone' if self.background.done() else 'running'}")

    @svcd.api
    async def where(self) -> list[object]:
        await asyncio.sleep(0)
        await anyio.lowlevel.checkpoint()
        same = asyncio.get_running_loop() is self.loop
        return [sniffio.current_async_library(), same, self.from_init, self.from_startup]

    @svcd.api
    def plain_thread(self) -> list[int]:
        return [int(threading.get_ident() == self.thread), self.on_trio.plainly(x=2), self.on_trio.to_sync.double(x=3)]

    @svcd.api
    async def gathered(self, x: int) -> list[int]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.on_trio.double(x=x))
        return [
            *await asyncio.gather(self.on_trio.double(x=x), self.on_trio.plainly.to_async(x=x + 1)),
            *await svcd.gather(self.on_trio.double(x=x + 2), self.on_trio.double(x=x + 3)),
            await asyncio.wait_for(self.on_trio.double(x=x + 4), 5),
            task.result(),
        ]

    @svcd.api
    async def blocking(self) -> int:
        return self.on_trio.plainly(x=1)

    @svcd.api
    async def first_fails(self) -> None:
        await svcd.gather(self.on_trio.hang(), self.on_trio.fail())

    @svcd.api
    async def items(self, n: int) -> list[int]:
        return [i async for i in self.on_trio.upto(n=n)]

    @svcd.api
    async def left(self) -> None:
        async for i in self.on_trio.upto(n=10**9):
            if i == 3:
                break
        gc.collect()

    @svcd.api
    async def squares(self, n: int) -> AsyncIterator[int]:
        async with asyncio.timeout(LIMIT), asyncio.TaskGroup():  # both belong to one task
            try:
                async for i in self.on_trio.upto(n=n):
                    await asyncio.sleep(0)
                    yield i * i
            finally:
                await asyncio.sleep(0)
                RECORD.notes.append("squares ended")

    @svcd.api
    async def fail_at(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        raise OddError(f"no {n} here")

    @svcd.api
    async def total(self, items: AsyncIterator[int]) -> int:
        total = 0
        async for item in items:
            await asyncio.sleep(0)
            total += item
        return total

    @svcd.api
    async def pass_on(self, n: int) -> list[int]:
        async def numbers() -> AsyncIterator[int]:
            try:
                for i in range(n):
                    await asyncio.sleep(0)
                    yield i
            finally:
                RECORD.notes.append("numbers ended")

        return [await self.on_trio.total(numbers()), await self.on_trio.total(iter(range(n)))]

    @svcd.api
    async def hang(self, politely: bool = True) -> str:
        RECORD.begun.set()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            RECORD.notes.append("cancelled")
            await asyncio.sleep(0.01)
            RECORD.notes.append("cleaned up")
            RECORD.over.set()
            if politely:
                raise
        return "not gone"

    @svcd.api
    async def hang_below(self) -> None:
        await self.on_trio.hang()

    @svcd.api
    async def time_out_below(self) -> str:
        try:
            async with asyncio.timeout(0.02):
                await self.on_trio.hang()
        except TimeoutError:
            return "timed out"
        return "no"

    @svcd.api
    async def cancel_itself(self) -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    @svcd.api
    async def fail(self, kind: str) -> None:
        if kind == "exit":
            raise SystemExit(3)
        if kind == "below":
            await self.on_trio.fail()
        raise OddError(kind)

    @svcd.api
    async def network_and_processes(self) -> list[str]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            told = await reader.readline()
            writer.close()
            await writer.wait_closed()
        process = await asyncio.create_subprocess_exec("echo", "child", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return [told.decode().strip(), out.decode().strip(), await asyncio.to_thread(str, 3)]

    @svcd.api
    async def leave_a_task_that_exits(self) -> None:
        async def leave() -> None:
            raise SystemExit(4)

        self.background = asyncio.create_task(leave())

    @svcd.api
    async def remaining(self) -> list[float]:
        return [svcd.current_call().remaining(), await self.on_trio.remaining()]

    @svcd.api(batchable=True)
    async def batch(self, x: list[int]) -> list[int]:
        RECORD.notes.append(f"{len(x)} rows")
        await asyncio.sleep(0.01)
        return [2 * row for row in x]
