"""Iterators as arguments of svcd.Client and svcd.AsyncClient: sent as they are taken, and ended with their call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

import svcd
from http_app import printed
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from running import RunningApp

PIECE = b"x" * 65536
LARGE = 48 * 1024 * 1024
"""Bytes; more than the buffers between client and api can hold."""


class OddError(Exception):
    pass


class Count:
    """Counts what is taken of an endless source, and notes how it was left."""

    def __init__(self) -> None:
        self.taken = 0
        self.is_closed = False

    def items(self, item: Any = 1, until: int | None = None) -> Iterator[Any]:
        try:
            while self.taken != until:
                self.taken += 1
                yield item
            raise OddError(f"no {until}")
        finally:
            self.is_closed = True

    async def aitems(self, item: Any = 1, until: int | None = None) -> AsyncIterator[Any]:
        try:
            for each in self.items(item, until):
                yield each
        finally:
            self.is_closed = True


def lefts(app: RunningApp) -> int:
    return printed(app).count("left after")


def begins(app: RunningApp) -> int:
    return printed(app).count("begins with")


def test_items_go_with_other_arguments_of_any_type(client: svcd.Client) -> None:
    assert client.total(numbers=iter([1, 2.5, 3])) == "6.5"
    assert client.total(numbers=(n for n in range(1000)), times=2, label="=") == "=999000.0"
    assert client.total(numbers=iter([])) == "0.0"
    assert client.total(numbers=[1, 2]) == "3.0"
    assert client.total(numbers=iter([4]), times=1) == "4.0"  # the connections go on carrying calls
    arrays = [np.arange(3) * n for n in range(4)]
    scaled = list(client.scaled(arrays=iter(arrays), by=np.array([1, 10, 100])))
    assert [array.tolist() for array in scaled] == [[0, 10 * n, 200 * n] for n in range(4)]


def test_answers_come_while_items_go(client: svcd.Client) -> None:
    source = Count()
    with client.running(numbers=source.items()) as totals:
        assert [next(totals) for _ in range(3)] == [1, 2, 3]
        assert not source.is_closed
    assert source.is_closed


def test_an_api_that_has_enough_closes_the_generator(client: svcd.Client) -> None:
    source = Count()
    assert client.first_two(numbers=source.items()) == [1, 1]
    assert source.is_closed


def test_a_slow_api_holds_the_source_back_and_a_timeout_ends_both(app: RunningApp, client: svcd.Client) -> None:
    before, left = begins(app), lefts(app)

    def got_there() -> bool:
        source = Count()
        with pytest.raises(svcd.DeadlineExceeded, match=r"no answer within 0\.5 s"):
            client.within(0.5).count_bytes(parts=source.items(PIECE), pause=60)
        assert source.is_closed
        assert source.taken * len(PIECE) < LARGE
        return begins(app) > before

    wait_until(got_there, "a call to get to the api in that time")
    wait_until(lambda: lefts(app) > left, "the api to be cancelled")


def test_what_the_source_raises_is_raised_and_cancels_the_call(app: RunningApp, client: svcd.Client) -> None:
    def fail_once_it_runs() -> Iterator[bytes]:
        yield b"x"
        wait_until(lambda: app.row("Odd")["in_flight"] == 1, "the api to run")
        raise OddError("no more")

    before = lefts(app)
    with pytest.raises(OddError, match="no more"):
        client.count_bytes(parts=fail_once_it_runs())
    wait_until(lambda: lefts(app) > before, "the api to be cancelled")
    with pytest.raises(OddError, match="no 2") as raised:
        list(client.running(numbers=Count().items(until=2)))
    assert raised.value.__context__ is None
    with pytest.raises(svcd.EncodeError, match=r"args\.numbers: .*set cannot travel"):
        client.total(numbers=iter([{1}]))
    with pytest.raises(svcd.EncodeError, match=r"^total: args\.times: a set"):
        client.total(numbers=iter([1]), times={2})


def test_what_is_wrong_is_told(client: svcd.Client) -> None:
    with pytest.raises(svcd.InvalidArgument, match=r"total: numbers\.1: "):
        client.total(numbers=iter([1, "x"]))
    with pytest.raises(svcd.InvalidArgument) as invalid:
        client.total(numbers=iter([1]), times="x", more=1)
    assert [detail["field"] for detail in invalid.value.details] == ["times", "more"]
    for call in (
        lambda: client.add(a=iter([1])),
        lambda: client.size(image=iter([b"x"])),
        lambda: client.total(n=iter([1])),
    ):
        with pytest.raises(svcd.InvalidArgument, match="no parameter that is a stream"):
            call()
    with pytest.raises(svcd.EncodeError, match="numbers and more are iterators; one may be"):
        client.total(numbers=iter([1]), more=iter([1]))
    with pytest.raises(svcd.EncodeError, match=r"svcd\.AsyncClient takes those"):
        client.total(numbers=Count().aitems())


def test_async_iterators_go_too(address: str, run: Callable[..., Any]) -> None:
    async def forever(client: svcd.AsyncClient) -> AsyncIterator[int]:
        async with client.forever() as numbers:
            async for number in numbers:
                yield number

    async def main() -> None:
        async with svcd.AsyncClient(address) as client:
            assert await client.first_two(numbers=forever(client)) == [0, 1]
            assert await client.total(numbers=iter([1, 2]), label="=") == "=3.0"
            by = np.array([2])
            async with client.scaled(arrays=Count().aitems(np.arange(2)), by=by) as items:
                assert [(await anext(items)).tolist() for _ in range(3)] == [[0, 2]] * 3

    run(main)


def test_a_source_may_wait_for_the_answers_to_what_it_gave(app: RunningApp, run: Callable[..., Any]) -> None:
    async def main() -> None:
        told, heard = anyio.create_memory_object_stream[int](1)

        async def echoes() -> AsyncIterator[int]:
            yield 1
            async for total in heard:
                yield total

        async with svcd.AsyncClient(app.url) as client, client.running(numbers=echoes()) as totals, told, heard:
            found = []
            async for total in totals:
                found.append(total)
                if len(found) == 5:
                    await told.aclose()
                else:
                    await told.send(total)
        assert found == [1, 2, 4, 8, 16]

    run(main)


def test_leaving_ends_source_and_api(app: RunningApp, run: Callable[..., Any]) -> None:
    source, stuck = Count(), Count()
    before, begun = lefts(app), begins(app)

    async def call(client: svcd.AsyncClient) -> None:
        await client.count_bytes(parts=stuck.aitems(PIECE), pause=60)

    async def main() -> None:
        async with svcd.AsyncClient(app.url) as client:
            async with client.running(numbers=source.aitems()) as totals:
                assert await anext(totals) == 1
            async with anyio.create_task_group() as group:
                group.start_soon(call, client)
                await anyio.to_thread.run_sync(
                    lambda: wait_until(lambda: begins(app) > begun, "the other api to begin")
                )
                group.cancel_scope.cancel()

    run(main)
    assert source.is_closed
    assert stuck.is_closed
    assert stuck.taken * len(PIECE) < LARGE
    wait_until(lambda: lefts(app) > before, "the api to be cancelled")


def test_errors_come_as_they_were_raised(app: RunningApp, run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with svcd.AsyncClient(app.url) as client:
            with pytest.raises(OddError, match="no 3"):
                await client.count_bytes(parts=Count().aitems(b"x", until=3))
            with pytest.raises(OddError, match="no 2"):
                async with client.running(numbers=Count().aitems(until=2)) as totals:
                    assert [total async for total in totals] == [1, 2]
            with pytest.raises(OddError, match="mine"):
                async with client.running(numbers=Count().aitems()) as totals:
                    raise OddError("mine")
            with pytest.raises(svcd.InvalidArgument, match=r"numbers\.0"):
                await client.total(numbers=Count().aitems("x"))
            with pytest.raises(TypeError, match=r"async with client\.running\(\.\.\.\) as items"):
                await anext(client.running(numbers=Count().aitems()))

    run(main)


def test_a_call_whose_source_was_begun_is_not_sent_again() -> None:
    source = Count()
    with svcd.Client("unix:/nowhere/http.sock", retries=1) as client, pytest.raises(svcd.ServiceUnavailable):
        client.total(numbers=source.items())
    assert source.taken == 0  # it was tried twice, and nothing was lost
