"""Arguments that are streams, within one process; tests/graphs holds what is the same between processes."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

import svcd
from svcd.app.apis import ApiDeclaration, Batching
from svcd.app.schemas import ApiSchema, schemas_of


class Source:
    """Gives numbers; records how far it came, who was being served, and in which thread it was."""

    def __init__(self, n: int = 10**9, *, error: BaseException | None = None) -> None:
        self.n = n
        self.error = error
        self.produced = 0
        self.closed = False
        self.threads: set[int] = set()
        self.calls: set[str] = set()

    def note(self) -> None:
        self.produced += 1
        self.threads.add(threading.get_ident())
        call = svcd.current_call()
        self.calls.add(call.api if call else "")

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(self.n):
                self.note()
                yield number
                await trio.lowlevel.checkpoint()
            if self.error:
                raise self.error
        finally:
            self.closed = True

    def plain_items(self) -> Iterator[int]:
        try:
            for number in range(self.n):
                self.note()
                yield number
            if self.error:
                raise self.error
        finally:
            self.closed = True


SOURCE = Source()


@svcd.service
class Sums:
    def __init__(self) -> None:
        self.left: list[str] = []
        self.kept: Any = None

    @svcd.api
    async def total(self, items: AsyncIterator[int], times: int = 1) -> int:
        return times * sum([item async for item in items])

    @svcd.api
    def total_plainly(self, items: Iterator[int]) -> int:
        return sum(items)

    @svcd.api
    async def first(self, items: AsyncIterator[int]) -> int:
        self.kept = items
        return await anext(items)

    @svcd.api
    def first_plainly(self, items: Iterator[int]) -> int:
        return next(items)

    @svcd.api
    async def running(self, items: AsyncGenerator[int, None]) -> AsyncIterator[int]:
        so_far = 0
        async for item in items:
            so_far += item
            yield so_far

    @svcd.api
    def running_plainly(self, items: Generator[int, None, None]) -> Iterator[int]:
        so_far = 0
        for item in items:
            so_far += item
            yield so_far

    @svcd.api
    async def watch(self, items: AsyncIterator[int]) -> int:
        try:
            return sum([item async for item in items])
        except trio.Cancelled:
            self.left.append("cancelled")
            raise

    @svcd.api
    async def untouched(self, items: AsyncIterator[int]) -> str:
        return "as it was"


@svcd.service
class Asker:
    sums = svcd.depends(Sums)

    @svcd.api
    async def total(self) -> int:
        return await self.sums.total(SOURCE.items())

    @svcd.api
    def total_plainly(self) -> list[int]:
        """Return the total, and whether the items were made in this thread."""
        total = self.sums.total_plainly(SOURCE.plain_items())
        return [total, int(SOURCE.threads == {threading.get_ident()})]

    @svcd.api
    def running_plainly(self) -> list[int]:
        running = list(self.sums.running_plainly(SOURCE.plain_items()))
        return [*running, int(SOURCE.threads == {threading.get_ident()})]

    @svcd.api
    async def a_plain_one_on_the_loop(self) -> int:
        return await self.sums.total(SOURCE.plain_items())


@pytest.fixture(autouse=True)
def source() -> Source:
    global SOURCE  # noqa: PLW0603  (what the services read)
    SOURCE = Source(4)
    return SOURCE


async def test_items_come_in_their_own_colour() -> None:
    async with svcd.local(Sums) as app:
        assert await app.total(items=Source(4).items(), times=2) == 12
        assert await app.total_plainly(items=Source(4).items()) == 6
        assert await app.first_plainly(items=Source().items()) == 0
        assert [item async for item in app.running(items=Source(4).items())] == [0, 1, 3, 6]
        assert [item async for item in app.running_plainly(items=Source(4).items())] == [0, 1, 3, 6]


def test_plain_code_passes_plain_iterators() -> None:
    with svcd.local(Sums) as app:
        assert app.total(items=iter([1, 2, 3])) == 6
        assert app.total_plainly(items=Source(4).plain_items()) == 6
        assert list(app.running(items=Source(4).plain_items())) == [0, 1, 3, 6]
        assert list(app.running_plainly(items=Source(4).plain_items())) == [0, 1, 3, 6]
        assert app.first_plainly(items=Source().plain_items()) == 0


async def test_a_list_will_do() -> None:
    async with svcd.local(Sums) as app:
        assert await app.total(items=[1, 2, 3]) == 6
        with pytest.raises(svcd.InvalidArgument, match=r"Sums\.total: items\.1: Input should be a valid integer"):
            await app.total(items=[1, "x"])


async def test_services_pass_them_on(source: Source) -> None:
    async with svcd.local(Asker) as app:
        assert await app.total() == 6
        assert source.calls == {"total"}  # the one that Asker serves, not the one that it makes
        assert await app.a_plain_one_on_the_loop() == 6


async def test_plain_items_are_made_in_the_thread_that_passes_them(source: Source) -> None:
    async with svcd.local(Asker) as app:
        assert await app.total_plainly() == [6, 1]
        source.threads.clear()
        assert await app.running_plainly() == [0, 1, 3, 6, 1]


async def test_items_are_checked_one_by_one() -> None:
    async def items() -> AsyncIterator[Any]:
        yield 1
        yield "2"
        yield "three"

    async with svcd.local(Sums) as app:
        with pytest.raises(svcd.InvalidArgument, match=r"Sums\.total: items\.2: Input should be a valid integer") as e:
            await app.total(items=items())
        assert e.value.details[0]["field"] == "items.2"
        with pytest.raises(svcd.InvalidArgument, match=r"Sums\.total: items: Input should be a valid list"):
            await app.total(items=3)


async def test_a_callee_that_answers_early_closes_the_source() -> None:
    source = Source()
    async with svcd.local(Sums) as app:
        assert await app.first(items=source.items()) == 0
        assert source.closed
        assert source.produced == 1
        with pytest.raises(svcd.CallError, match="only be taken while the call runs"):
            await anext(app._composition._members[f"{__name__}:Sums"].live.instance.kept)


async def test_what_nobody_takes_is_not_touched() -> None:
    items = Source(2).items()
    async with svcd.local(Sums) as app:
        assert await app.untouched(items=items) == "as it was"
        assert [item async for item in items] == [0, 1]


@pytest.mark.parametrize("api", ["watch", "total_plainly"])
async def test_what_the_source_raises_is_raised_at_the_call(api: str) -> None:
    async with svcd.local(Sums) as app:
        with pytest.raises(KeyError, match="lost"):
            await getattr(app, api)(items=Source(2, error=KeyError("lost")).items())
        with pytest.raises(KeyError, match="lost"):
            async for _ in app.running(items=Source(2, error=KeyError("lost")).items()):
                pass
        live = app._composition._members[f"{__name__}:Sums"].live
        assert live.instance.left == (["cancelled"] if api == "watch" else [])


def test_what_a_plain_source_raises_is_raised_at_the_call() -> None:
    with svcd.local(Sums) as app:
        with pytest.raises(KeyError, match="lost"):
            app.total(items=Source(2, error=KeyError("lost")).plain_items())
        with pytest.raises(KeyError, match="lost"):
            list(app.running(items=Source(2, error=KeyError("lost")).plain_items()))


async def test_a_cancelled_caller_stops_both() -> None:
    source = Source()
    async with svcd.local(Sums) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: app.watch(items=source.items()))
            while source.produced < 10:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert source.closed
        assert app._composition._members[f"{__name__}:Sums"].live.instance.left == ["cancelled"]


async def test_a_stream_that_is_left_closes_what_feeds_it() -> None:
    source = Source()
    async with svcd.local(Sums) as app:
        items = app.running(items=source.items())
        assert [await anext(items) for _ in range(3)] == [0, 1, 3]
        await items.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert source.closed
        assert source.produced < 50  # the producer was never far ahead


async def test_the_deadline_stops_both(autojump_clock: trio.testing.MockClock) -> None:
    @svcd.service
    class Hasty:
        sums = svcd.depends(Sums, timeout=1)

        @svcd.api
        async def run(self) -> int:
            async def slowly() -> AsyncIterator[int]:
                for number in range(100):
                    await trio.sleep(0.3)
                    SOURCE.produced = number + 1
                    yield number

            return await self.sums.watch(slowly())

    async with svcd.local(Hasty) as app:
        with pytest.raises(svcd.DeadlineExceeded):
            await app.run()
    assert SOURCE.produced == 3


def test_a_fallback_takes_over_only_what_is_whole() -> None:
    @svcd.service
    class Lost:
        @svcd.api
        async def total(self, items: AsyncIterator[int], taken: int) -> int:
            for _ in range(taken):
                await anext(items)
            raise svcd.ServiceUnavailable("away")

    @svcd.service
    class Spare:
        @svcd.api
        async def total(self, items: AsyncIterator[int], taken: int) -> int:
            return sum([item async for item in items])

    @svcd.service
    class Asking:
        lost = svcd.depends(Lost, fallback=Spare)

        @svcd.api
        async def run(self, taken: int) -> int:
            return await self.lost.total(Source(4).items(), taken)

    with svcd.local(Asking) as app:
        assert app.run(taken=0) == 6
        with pytest.raises(svcd.ServiceUnavailable):
            app.run(taken=1)


def test_the_schema_shows_a_list() -> None:
    described = schemas_of(Sums, "Sums")["total"].describe()
    assert described["input"]["properties"]["items"] == {
        "items": {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1},
        "type": "array",
        "title": "Items",
    }


@pytest.mark.parametrize(("is_async", "told"), [(True, r"AsyncIterator\[...\]"), (False, r"Iterator\[...\]")])
def test_the_annotation_has_the_colour_of_the_api(is_async: bool, told: str) -> None:
    annotation = Iterator[int] if is_async else AsyncIterator[int]

    def run(self: Any, items: Any) -> None: ...

    run.__annotations__["items"] = annotation
    declaration = ApiDeclaration("run", "run", is_async=is_async, is_stream=False, idempotent=False)
    with pytest.raises(TypeError, match=f"Model.run: items: in .*def code a stream is {told}"):
        _ = ApiSchema("Model", declaration, run).validate
    batched = replace(declaration, batching=Batching(0, 0, max_batch_size=8, max_latency_ms=5))
    with pytest.raises(TypeError, match=r"Model\.run: items: a batchable api takes rows, and no stream"):
        _ = ApiSchema("Model", batched, run).validate
