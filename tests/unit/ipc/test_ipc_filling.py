"""Large arrays come into the arena on an idle loop, else on a thread; pages are got ahead, within bounds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio

from svcd_ipc import filling, mapping
from svcd_ipc.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 1 << 20
PIECE = MANY // 4
HERE = threading.get_ident


@pytest.fixture
def memory() -> Iterator[Memory]:
    found = Memory(8 * MANY)
    yield found
    assert found.used == 0
    found.close()


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """Whether each copy was made on the loop's thread, and of how many bytes; in pieces of PIECE."""
    loop, seen, move = HERE(), [], filling.move

    def told(target: int, source: Any, start: int, size: int) -> None:
        seen.append((HERE() == loop, size))
        move(target, source, start, size)

    monkeypatch.setattr(filling, "move", told)
    monkeypatch.setattr(filling, "_PIECE", PIECE)
    return seen


def numbers() -> np.ndarray[Any, Any]:
    return (np.arange(MANY) % 251).astype("u1")


async def placed(memory: Memory, value: Any) -> Any:
    """Return a copy in pages that are there, and cost no more than to copy."""
    slot, room = memory.allocate(value.nbytes) or (None, None)
    assert slot is not None
    memory.populate(slot)
    del room
    return await filling.place(memory, value)


@pytest.mark.parametrize("is_view", [False, True], ids=["array", "memoryview"])
async def test_an_idle_loop_copies_piece_by_piece(
    memory: Memory, copied: Any, monkeypatch: pytest.MonkeyPatch, is_view: bool
) -> None:
    monkeypatch.setattr(filling, "_IDLE", 60.0)
    x = numbers()
    found = await placed(memory, x.data if is_view else x)
    assert copied == [(True, PIECE)] * 4
    assert type(found) is (memoryview if is_view else np.ndarray)
    assert bytes(found) == x.tobytes()


async def test_a_busy_loop_leaves_the_rest_to_a_thread(
    memory: Memory, copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_IDLE", -1.0)
    x = numbers()
    found = await placed(memory, x)
    assert copied == [(True, PIECE), (False, MANY - PIECE)]
    assert (found == x).all()


async def test_what_is_scattered_or_has_no_pages_is_copied_on_a_thread(memory: Memory, copied: Any) -> None:
    x = numbers()
    assert (await filling.place(memory, x) == x).all()
    assert (await placed(memory, x[::-1]) == x[::-1]).all()
    assert copied == []
    assert await filling.place(memory, np.zeros(9 * MANY, "u1")) is None


async def test_a_copy_that_is_cancelled_leaves_nothing(memory: Memory, copied: Any) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await placed(memory, numbers())
    assert len(copied) == 1


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - of threads and of finalizers, which set no event
            await trio.sleep(0.01)


def pages_of(memory: Memory) -> int:
    """Return the bytes that an arena takes up."""
    import os

    return os.fstat(memory.descriptor).st_blocks * 512


async def test_pages_are_got_ahead_within_bounds(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "AHEAD", 2 * MANY)
    monkeypatch.setattr(mapping, "_STEP", MANY // 2)
    assert memory.descriptor >= 0
    assert pages_of(memory) == 0
    memory.expect(100 * MANY)
    await until(lambda: pages_of(memory) == 2 * MANY)
    assert pages_of(memory) == 2 * MANY
    memory.expect(100 * MANY)
    assert pages_of(memory) == 2 * MANY
    slot, room = memory.allocate(MANY) or (None, None)
    assert slot is not None
    assert memory.is_populated(slot)
    del room


async def test_a_call_with_a_large_array_readies_its_answer(join: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callee's arena has pages by the time that its api answers; a caller that gets large answers needs none."""
    size = 8 << 20
    mine, theirs = Memory(4 * size), Memory(4 * size)

    async def answer(call: Any) -> Any:
        if call.api == "make":
            return np.zeros(size, "u1")
        await until(lambda: pages_of(theirs) >= size)
        return None

    caller, _ = await join(answer, caller={"memory": mine}, memory=theirs)
    made = await caller.call("make", {})
    assert made.nbytes == size
    assert pages_of(mine) == 0
    del made
    await caller.call("wait", {"x": np.zeros(size, "u1")})
    await caller.call("wait", {})
    await until(lambda: not mine.used and not theirs.used)
    for memory in (mine, theirs):
        memory.close()
