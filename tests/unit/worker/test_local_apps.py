"""svcd.local: composition, stand-ins, lifecycle, and what it promises beyond the graphs' table."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import trio
import trio.testing

import svcd
from svcd.app.load import LoadError

LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


@svcd.service
class Store:
    def __init__(self) -> None:
        LOG.append("Store made")
        self.data: dict[str, int] = {}

    @svcd.on_startup
    async def open(self) -> None:
        LOG.append("Store open")

    @svcd.on_shutdown
    def close(self) -> None:
        LOG.append("Store closed")

    @svcd.api
    async def get(self, key: str) -> int:
        return self.data.get(key, 0)

    @svcd.api
    def put(self, key: str, value: int) -> None:
        self.data[key] = value


@svcd.service(traffic={"timeout": "20s", "max_queue": 2, "max_concurrency": 1})
class Counter:
    store = svcd.depends(Store)

    def __init__(self) -> None:
        LOG.append("Counter made")
        self.gate = trio.Event()

    @svcd.on_shutdown
    async def close(self) -> None:
        LOG.append("Counter closed")

    @svcd.api
    async def add(self, key: str, by: int = 1) -> int:
        total = await self.store.get(key=key) + by
        await self.store.put.to_async(key=key, value=total)
        return total

    @svcd.api
    async def hold(self) -> None:
        await self.gate.wait()

    @svcd.api
    async def fail(self) -> None:
        raise LookupError("nothing here")


@svcd.service
class Distant:
    far = svcd.depends("nowhere_at_all:Far")

    @svcd.api
    async def ask(self, x: int) -> int:
        return await self.far.compute.to_async(x=x)


def test_with_blocks_and_closes_in_reverse() -> None:
    with svcd.local(Counter) as app:
        assert app.add(key="a") == 1
        assert app.add("a", by=2) == 3
        assert app[Store].get(key="a") == 3
        assert app["Store"].get(key="b") == 0
        assert LOG == ["Store made", "Store open", "Counter made"]
    assert LOG[3:] == ["Counter closed", "Store closed"]
    with pytest.raises(AttributeError, match="only inside"):
        app.add(key="a")


async def test_async_with_awaits() -> None:
    async with svcd.local(Counter) as app:
        assert await app.add(key="a") == 1
        assert await app[Store].get(key="a") == 1
    assert LOG[-2:] == ["Counter closed", "Store closed"]


async def test_the_bodys_error_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with svcd.local(Counter):
            raise KeyError("mine")
    assert LOG[-1] == "Store closed"


async def test_cancelling_the_body_still_closes() -> None:
    with trio.CancelScope() as scope:
        async with svcd.local(Counter):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert LOG[-2:] == ["Counter closed", "Store closed"]


async def test_with_in_a_trio_task_says_what_to_write() -> None:
    with pytest.raises(RuntimeError, match="use `async with"), svcd.local(Counter):
        pass


def test_what_is_not_there_names_the_nearest() -> None:
    with svcd.local(Counter) as app:
        with pytest.raises(AttributeError, match="Counter has no api 'ad'; did you mean 'add'"):
            app.ad(key="a")
        with pytest.raises(KeyError, match="did you mean 'Store'"):
            _ = app["Stor"]


def test_a_failing_init_raises_and_closes_what_was_open() -> None:
    @svcd.service
    class Broken:
        store = svcd.depends(Store)

        def __init__(self) -> None:
            raise OSError("no weights")

    with pytest.raises(OSError, match="no weights"), svcd.local(Broken):
        pass
    assert LOG == ["Store made", "Store open", "Store closed"]


def test_a_failing_shutdown_hook_raises_after_all_are_closed() -> None:
    @svcd.service
    class Messy:
        store = svcd.depends(Store)

        @svcd.on_shutdown
        def close(self) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), svcd.local(Messy):
        pass
    assert LOG[-1] == "Store closed"


def test_a_service_stands_in_with_its_own_declarations() -> None:
    @svcd.service
    class Memory:
        @svcd.api
        def get(self, key: str) -> int:  # a def in the place of an async def
            return 40

        @svcd.api
        async def put(self, key: str, value: int) -> None: ...

    with svcd.local(Counter, replace={Store: Memory}) as app:
        assert app.add(key="a", by=2) == 42
        assert app[Store].get(key="x") == 40
    assert LOG == ["Counter made", "Counter closed"]


@pytest.mark.parametrize("key", [Store, "Store", f"{__name__}:Store"], ids=str)
@pytest.mark.parametrize("as_instance", [True, False])
def test_anything_with_the_apis_stands_in(key: Any, as_instance: bool) -> None:
    class Fake:
        async def get(self, key: str) -> int:
            return 10

        def put(self, key: str, value: int) -> None:
            LOG.append(f"put {value}")

    with svcd.local(Counter, replace={key: Fake() if as_instance else Fake}) as app:
        assert app.add(key="a") == 11
        with pytest.raises(svcd.InvalidArgument, match=r"Store\.get: key: "):
            app[Store].get(key=[])  # held to what Store declares
    assert "put 11" in LOG


def test_a_mock_stands_in() -> None:
    store = Mock()
    store.get.return_value = 5
    store.put.return_value = None
    with svcd.local(Counter, replace={Store: store}) as app:
        assert app.add(key="a") == 6
    store.put.assert_called_once_with(key="a", value=6)


def test_a_stand_in_makes_up_for_what_cannot_be_imported() -> None:
    class Far:
        def compute(self, x: int) -> int:
            return x * x

    with pytest.raises(LoadError, match=r"no module 'nowhere_at_all'.*replace=\{'nowhere_at_all:Far': Fake\}"):
        svcd.local(Distant)
    with svcd.local(Distant, replace={"nowhere_at_all:Far": Far}) as app:
        assert app.ask(x=3) == 9


def test_stand_ins_that_do_not_fit_are_named() -> None:
    class Half:
        def get(self, key: str) -> int: ...

    class Streaming(Half):
        def put(self, key: str, value: int):
            yield 1

    with (
        pytest.raises(LoadError, match="replace: Half has no put, an api of Store"),
        svcd.local(Counter, replace={Store: Half}),
    ):
        pass
    with (
        pytest.raises(LoadError, match=r"Streaming\.put should be no stream"),
        svcd.local(Counter, replace={Store: Streaming}),
    ):
        pass
    with pytest.raises(LoadError, match="nothing in this app depends on 'Stroe'; did you mean 'Store'"):
        svcd.local(Counter, replace={"Stroe": Half})


def test_errors_are_those_of_another_process() -> None:
    with svcd.local(Counter) as app:
        with pytest.raises(svcd.RemoteError) as caught:
            app.fail()
        assert (caught.value.type_name, caught.value.message) == ("LookupError", "nothing here")
        assert "in fail" in caught.value.remote_traceback
        assert "local_caller" not in caught.value.remote_traceback


async def test_the_waiting_room_is_bounded_and_in_order() -> None:
    async with svcd.local(Counter) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.hold)
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as waiting:
                async with trio.open_nursery() as inner:
                    inner.start_soon(app.add, "a")
                    inner.start_soon(app.add, "a")
                    await trio.testing.wait_all_tasks_blocked()
                    with pytest.raises(svcd.Overloaded, match=r"Counter\.add: 2 calls wait already"):
                        await app.add(key="a")
                    waiting.cancel()
            assert await app[Store].get(key="a") == 0
            nursery.cancel_scope.cancel()
        assert await app.add(key="a") == 1


async def test_the_callers_scope_ends_it_and_not_an_error() -> None:
    async with svcd.local(Counter) as app:
        with trio.move_on_after(0.02) as scope:
            await app.hold()
        assert scope.cancelled_caught
        assert await app.add(key="a") == 1


def test_two_apps_and_threads_do_not_meet() -> None:
    with svcd.local(Counter) as one, svcd.local(Counter) as two:
        results: list[int] = []
        threads = [threading.Thread(target=lambda app=app: results.append(app.add(key="a"))) for app in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [1, 1]


def test_what_an_edge_promises_the_caller() -> None:
    with svcd.local(Counter) as app:
        with pytest.raises(svcd.EncodeError, match=r"^\w+\.\w+: args\.key"):
            app.add(key={1})
        with pytest.raises(TypeError, match="too many positional"):
            app.add("a", 1, 2)
        assert repr(app[Store]) == "<app[Store] -> Store [get, put]>"
        assert repr(app.add) == "<api Counter.add>"


def test_arrays_are_not_shared_with_the_caller() -> None:
    @svcd.service
    class Keep:
        @svcd.api
        async def keep(self, image: np.ndarray) -> bool:
            self.image = image
            return image.flags.writeable

        @svcd.api
        async def first(self) -> float:
            return float(self.image[0])

    mine = np.zeros(3)
    with svcd.local(Keep) as app:
        assert app.keep(image=mine) is False
        mine[0] = 7
        assert app.first() == 0


async def test_gather_needs_awaitables_and_raises_the_first_error() -> None:
    async with svcd.local(Counter) as app:
        assert await svcd.gather() == []
        with pytest.raises(TypeError, match="argument 2 is int, no awaitable"):
            svcd.gather(app.add(key="a"), 3)
        with pytest.raises(svcd.RemoteError, match="nothing here"):
            await svcd.gather(app[Store].get(key="a"), app.fail())


def test_gather_outside_of_a_service_says_so() -> None:
    async def nothing() -> None: ...

    with pytest.raises(RuntimeError, match="blocks only on a service's own thread"):
        svcd.gather(nothing())


def test_a_call_that_a_def_api_forgot_to_make_is_named() -> None:
    @svcd.service
    class Forgetful:
        store = svcd.depends(Store)

        @svcd.api
        def get(self) -> int:
            return self.store.get(key="a")

        @svcd.api
        def lazily(self):
            return iter([1])

    with svcd.local(Forgetful) as app:
        with pytest.raises(svcd.BadResult, match=r"Forgetful\.get returned a call that was not made"):
            app.get()
        with pytest.raises(svcd.BadResult, match=r"Forgetful\.lazily returned an iterator"):
            app.lazily()
