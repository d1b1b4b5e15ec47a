"""Arrays in shared memory: two channels in one loop, each with an arena of its own."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import trio
from sharing_rig import MANY, Service, numbers, until_free

from svcd_ipc import memory as memories
from svcd_ipc import messages
from svcd_ipc.buffers import LEND
from svcd_ipc.channel import Limits
from svcd_ipc.errors import CallError, EncodeError, InvalidArgument
from svcd_ipc.space import PAGE


async def test_arrays_go_both_ways_and_leave_nothing(pair: Any) -> None:
    two = await pair()
    x = numbers()
    for _ in range(100):  # far more than the arena holds
        assert ((await two.call("plus_one", {"x": x})) == x + 1).all()
    assert x.flags.writeable
    await until_free(two.mine, two.theirs)


async def test_inside_lists_and_maps_with_strides_and_dtypes(pair: Any) -> None:
    two = await pair()
    args = {
        "list": [numbers(), {"deep": np.arange(30_000, dtype=">f8").reshape(100, 300)}],
        "stride": np.arange(80_000.0).reshape(200, 400)[::2, ::2],
        "fortran": np.asfortranarray(np.arange(40_000, dtype="i4").reshape(200, 200)),
        "bools": np.ones(100_000, bool),
        "small": np.arange(3),
        "complex": np.full((50, 100, 10), 1 + 2j),
    }
    answer = await two.call("echo", args)
    for name in ("stride", "fortran", "bools", "small", "complex"):
        assert (answer[name] == args[name]).all(), name
        assert answer[name].dtype == args[name].dtype
    assert (answer["list"][0] == args["list"][0]).all()
    assert (answer["list"][1]["deep"] == args["list"][1]["deep"]).all()


async def test_an_array_of_no_size_and_one_below_the_threshold_travel_with_the_frame(pair: Any) -> None:
    two = await pair()
    answer = await two.call("keep", {"x": np.zeros(LEND - 1, "u1")})
    answer = await two.call("echo", {"x": np.zeros((0, 5))})
    assert answer["x"].shape == (0, 5)
    assert two.mine.used == 0


@pytest.mark.parametrize("api", ["write", "force"])
async def test_a_receiver_that_writes_gets_an_exception(pair: Any, api: str) -> None:
    two = await pair()
    with pytest.raises(CallError, match=r"read-only|cannot set WRITEABLE flag"):
        await two.call(api, {"x": numbers()})
    answer = await two.call("plus_one", {"x": numbers()})
    with pytest.raises(ValueError, match="read-only"):
        answer[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        answer.flags.writeable = True


async def test_a_slice_outlives_its_array(pair: Any) -> None:
    two = await pair()
    x = numbers()
    await two.call("keep_slice", {"x": x})
    for start in range(1, 100):  # would all be put where the array was, were it free
        await two.call("echo", {"x": numbers(start=start)})
    assert (two.service.kept[0] == x[1000:1010]).all()
    two.service.kept.clear()
    await until_free(two.mine)


async def test_other_views_of_the_memory_hold_it_too(pair: Any) -> None:
    two = await pair()
    answer = await two.call("plus_one", {"x": numbers()})
    view = memoryview(answer)[10:20]
    as_words = np.frombuffer(answer, "<u4")[5:6]
    del answer
    for start in range(1, 100):
        await two.call("plus_one", {"x": numbers(start=start)})
    expected = numbers() + 1
    assert bytes(view) == expected[10:20].tobytes()
    assert as_words.tobytes() == expected[20:24].tobytes()
    del view, as_words
    await until_free(two.theirs)


async def test_a_full_arena_and_a_receiver_that_keeps_views_for_ever(pair: Any) -> None:
    two = await pair(4 * MANY)
    for start in range(30):
        await two.call("keep", {"x": numbers(start=start)})
        assert two.mine.used <= 4 * MANY
    assert two.mine.used > 2 * MANY
    for start, kept in enumerate(two.service.kept):
        assert (kept == numbers(start=start)).all()
        assert not kept.flags.writeable
    two.service.kept.clear()
    await until_free(two.mine)


async def test_what_fits_neither_arena_nor_frame_is_an_error_that_says_so(pair: Any) -> None:
    two = await pair(4 * MANY, limits=Limits(frame=MANY))
    assert (await two.call("plus_one", {"x": numbers(2 * MANY)})).size == 2 * MANY
    with pytest.raises(EncodeError, match=r"args: 1000\d\d\d bytes .* the limit of a frame is 200000"):
        await two.call("keep", {"x": numbers(5 * MANY)})
    with pytest.raises(EncodeError, match="set cannot travel"):
        await two.call("keep", {"x": numbers(), "y": {1}})
    with pytest.raises(EncodeError, match="limit of a frame"):
        await two.call("keep", {"x": numbers(), "y": numbers(5 * MANY)})
    await until_free(two.mine, two.theirs)


async def test_a_view_of_an_argument_goes_back_by_reference(pair: Any) -> None:
    two = await pair()
    x = numbers()
    answer = await two.call("slice", {"x": x})
    assert (answer == x[PAGE : 2 * LEND + PAGE]).all()
    assert two.theirs.used == 0
    assert two.mine.used > 0
    for start in range(1, 100):
        await two.call("echo", {"x": numbers(start=start)})
    assert (answer == x[PAGE : 2 * LEND + PAGE]).all()
    again = await two.call("echo", {"x": answer})  # what came back goes there again without a copy
    slots = two.mine.used
    assert (again["x"] == answer).all()
    assert slots == two.mine.used
    del answer, again
    await until_free(two.mine, two.theirs)


async def test_an_array_built_in_the_arena_is_not_copied_and_cannot_be_changed_once_sent(
    pair: Any, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = memory()
    monkeypatch.setattr(memories, "_ours", own)
    two = await pair(mine=own)
    x = memories.empty((4, MANY), "u1")
    x[:] = numbers()
    used = own.used
    assert used >= x.nbytes
    await two.call("keep", {"x": x})
    await two.call("keep", {"x": x[2]})
    assert own.used == used
    assert (two.service.kept[1] == numbers()).all()
    with pytest.raises(ValueError, match="read-only"):
        x[0, 0] = 1
    assert memories.empty(10).nbytes == 80
    assert memories.empty((3, 5), "f4").shape == (3, 5)
    assert own.used == used
    assert memories.empty(65 * MANY, "u1").flags.writeable  # has no room
    del x
    two.service.kept.clear()
    await until_free(own)


async def test_one_array_to_three_services_at_once(pair: Any, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = memory()
    monkeypatch.setattr(memories, "_ours", own)
    three = [await pair(mine=own) for _ in range(3)]
    plain, built = numbers(), memories.empty(MANY, "u1")
    built[:] = plain[::-1]
    async with trio.open_nursery() as nursery:
        for one in three:
            nursery.start_soon(one.call, "keep", {"x": [plain, built]})
    alone = own.used
    for one in three:
        (first, second) = one.service.kept.pop()
        assert (first == plain).all()
        assert (second == plain[::-1]).all()
        del first, second
    del one
    while own.used == alone:  # those of the plain one come back
        gc.collect()
        await trio.sleep(0.01)
    assert (built == plain[::-1]).all()
    del built
    await until_free(own)


async def test_a_received_view_is_forwarded_to_a_third_service(pair: Any) -> None:
    first, second = await pair(), await pair()
    view = await first.call("plus_one", {"x": numbers()})
    await second.call("keep", {"x": view})
    del view
    await until_free(first.theirs)
    assert (second.service.kept.pop() == numbers() + 1).all()


async def test_items_of_streams_and_of_inputs(pair: Any) -> None:
    two = await pair()
    x = numbers()
    found = [item async for item in two.caller.stream("items", {"x": x})]
    assert all((item == x + n).all() for n, item in enumerate(found))
    del found
    await until_free(two.mine, two.theirs)


async def test_large_arrays_are_copied_while_the_loop_goes_on(pair: Any) -> None:
    two = await pair(64 * 1024 * 1024)
    x = np.arange(1 << 20)  # 8 MiB
    answer = await two.call("echo", {"x": x, "rest": [x[::-1]]})
    assert (answer["x"] == x).all()
    assert (answer["rest"][0] == x[::-1]).all()
    assert ((await two.call("plus_one", {"x": x})) == x + 1).all()
    del answer
    await until_free(two.mine, two.theirs)


async def test_a_value_that_cannot_be_read_gives_all_back(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from svcd_ipc import exttypes

    two = await pair()
    monkeypatch.setitem(exttypes._packers, slice, (99, lambda _: b""))  # which nobody can read
    with pytest.raises(InvalidArgument, match="ext type 99 is not registered"):
        await two.call("echo", {"a": numbers(), "b": slice(1), "c": numbers()})
    await until_free(two.mine)


async def test_a_view_outlives_its_connection(pair: Any) -> None:
    two = await pair()
    await two.call("keep", {"x": numbers()})
    answer = await two.call("plus_one", {"x": numbers()})
    two.caller.close()
    await two.caller.closed.wait()
    more = await pair(mine=two.mine)
    for start in range(1, 100):  # does not take the memory that is still looked at
        await more.call("echo", {"x": numbers(start=start)})
    assert (two.service.kept[0] == numbers()).all()
    assert (answer == numbers() + 1).all()
    two.service.kept.clear()
    del answer
    await until_free(two.mine, two.theirs)


async def test_a_side_without_the_capability_gets_copies(join: Any, memory: Any) -> None:
    service = Service()
    caller, _ = await join(service, caller={"memory": memory()})
    assert ((await caller.call("plus_one", {"x": numbers()})) == numbers() + 1).all()
    off = memory(0)
    caller, _ = await join(service, caller={"memory": off}, memory=memory())
    assert ((await caller.call("plus_one", {"x": numbers()})) == numbers() + 1).all()
    assert messages.MEMORY in caller.peer.capabilities
