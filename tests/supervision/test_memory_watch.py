"""The memory watch: who is ended, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from svcd.runtime.memory import INTERVAL, MemoryWatch
from svcd.values.exits import describe_oom
from svcd.values.specs import Resources, ServiceSpec

if TYPE_CHECKING:
    from trio.testing import MockClock

GI = 1024**3


class Watched:
    """As much of a replica as the watch knows."""

    def __init__(self, memory: int | None, pid: int | None) -> None:
        self.spec = ServiceSpec(name="A", target="m:A", python="", resources=Resources(memory=memory))
        self.pid = pid
        self.reasons: list[str] = []

    def end(self, reason: str) -> None:
        self.reasons.append(reason)


async def test_only_what_is_over_its_own_memory_is_ended(autojump_clock: MockClock) -> None:
    over, shared, under, free, none = (
        Watched(GI, 1),
        Watched(GI, 2),
        Watched(GI, 3),
        Watched(None, 4),
        Watched(GI, None),
    )
    resident = {1: 2 * GI, 2: 2 * GI, 3: GI, 4: 9 * GI}
    own = {1: GI + GI // 2, 2: GI}
    weighed: list[int] = []

    def weigh(pid: int) -> int:
        weighed.append(pid)
        return own[pid]

    watch = MemoryWatch(lambda: (over, shared, under, free, none), resident.__getitem__, weigh)  # type: ignore[arg-type, return-value]  # thin stand-ins
    with trio.move_on_after(INTERVAL / 2):
        await watch.run()
    assert over.reasons == ["over its memory of 1Gi: it had 1.5Gi"]
    assert [*shared.reasons, *under.reasons, *free.reasons, *none.reasons] == []
    assert weighed == [1, 2]  # what the quick look clears is not weighed


@pytest.mark.parametrize(
    ("code", "oom", "said"),
    [
        (-9, "limit", "killed by the kernel for memory (its limit is 2Gi)"),
        (-9, "machine", "killed by the kernel for memory, of which the machine had no more"),
        (
            1,
            "limit",
            "exited with status 1 after the kernel had killed one of its processes for memory (its limit is 2Gi)",
        ),
    ],
)
def test_what_the_kernel_did_in_words(code: int, oom: str, said: str) -> None:
    assert describe_oom(code, oom, 2 * GI) == said
