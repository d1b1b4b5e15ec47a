"""What is called instead of a dependency that cannot answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - annotations are evaluated

import pytest
import trio

import svcd
from svcd.app.graph import GraphError, build


@svcd.service(traffic={"max_concurrency": 1, "max_queue": 0})
class Precise:
    @svcd.api
    async def weigh(self, grams: int, delay: float = 0) -> str:
        await trio.sleep(delay)
        if grams < 0:
            raise ValueError("less than nothing")
        return f"precisely {grams}"

    @svcd.api
    async def parts(self, count: int, delay: float = 0) -> AsyncIterator[str]:
        await trio.sleep(delay)
        for number in range(count):
            yield f"precise {number}"
        if count > 3:
            raise svcd.ServiceUnavailable("no more")


@svcd.service
class Rough:
    @svcd.api
    def weigh(self, grams: int, delay: float = 0) -> str:
        return f"about {grams}"

    @svcd.api
    def parts(self, count: int, delay: float = 0) -> Iterator[str]:
        yield f"about {count}"


@svcd.service(traffic={"timeout": 30})
class Scale:
    weigher = svcd.depends(Precise, fallback=Rough)
    hasty = svcd.depends(Precise, timeout=0.2, fallback=Rough)

    @svcd.api
    async def weigh(self, grams: int, delay: float = 0) -> str:
        return await (self.hasty if delay else self.weigher).weigh(grams=grams, delay=delay)

    @svcd.api
    def weigh_blocking(self, grams: int, delay: float = 0) -> str:
        return self.hasty.to_sync.weigh(grams, delay=delay)

    @svcd.api
    async def both(self) -> list[str]:
        return await svcd.gather(self.weigher.weigh(grams=1, delay=0.05), self.weigher.weigh(grams=2, delay=0.05))

    @svcd.api
    async def parts(self, count: int, delay: float = 0) -> list[str]:
        weigher = self.hasty if delay else self.weigher
        return [part async for part in weigher.parts(count=count, delay=delay)]


async def test_the_fallback_answers_when_the_first_is_too_late() -> None:
    async with svcd.local(Scale) as app:
        assert await app.weigh(grams=5) == "precisely 5"
        assert await app.weigh(grams=5, delay=5) == "about 5"
        assert await app.weigh_blocking(grams=5, delay=5) == "about 5"


async def test_the_fallback_answers_when_the_first_is_overloaded() -> None:
    async with svcd.local(Scale) as app:
        assert sorted(await app.both()) in (["about 1", "precisely 2"], ["about 2", "precisely 1"])


async def test_an_error_of_the_callees_own_code_is_an_answer() -> None:
    async with svcd.local(Scale) as app:
        with pytest.raises(svcd.RemoteError, match="less than nothing"):
            await app.weigh(grams=-1)


async def test_a_stream_is_taken_over_before_its_first_item_and_never_after() -> None:
    async with svcd.local(Scale) as app:
        assert await app.parts(count=2) == ["precise 0", "precise 1"]
        assert await app.parts(count=2, delay=5) == ["about 2"]
        with pytest.raises(svcd.ServiceUnavailable):
            await app.parts(count=4)


def test_a_fallback_without_the_apis_is_refused_with_its_place() -> None:
    @svcd.service
    class Poor:
        @svcd.api
        def weigh(self) -> str:
            return ""

    @svcd.service
    class Caller:
        weigher = svcd.depends(Precise, fallback=Poor)

    with pytest.raises(GraphError, match=r"Caller\.weigher: the fallback Poor lacks the api Precise\.parts"):
        build([Caller])
