"""Large arrays between services: the same values under `svcd.local`, in one process and across processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import svcd
from leftovers import in_shm
from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

SERVICE = """
    from typing import Any

    import numpy as np
    import svcd
    import trio
    from svcd_ipc.memory import of_process

    MANY = 1_000_000

    @svcd.service
    class Deep:
        @svcd.api
        async def total(self, x: np.ndarray) -> int:
            return int(x.sum())

    @svcd.service
    class Model:
        deep = svcd.depends(Deep)

        @svcd.api
        async def writable(self, x: np.ndarray, view: memoryview, data: bytes, small: memoryview) -> list[Any]:
            assert data == bytes(view) == bytes(x.data), "all were made of the same bytes"
            return [x.flags.writeable, not view.readonly, type(data).__name__, type(small).__name__]

        @svcd.api
        def built(self) -> np.ndarray:
            made = svcd.empty((1000, 1000), "u4")
            made[:] = 7
            return made

        @svcd.api
        def on_thread(self, x: np.ndarray) -> int:
            return int(x[-1])

        @svcd.api
        async def part(self, x: np.ndarray, start: int, end: int) -> np.ndarray:
            return x[start:end]

        @svcd.api
        async def as_view(self, data: bytes) -> bytes:
            return memoryview(data)[1:]

        @svcd.api
        async def forwarded(self, x: np.ndarray) -> int:
            return await self.deep.total(x=x)

    @svcd.service
    class Entry:
        model = svcd.depends(Model)

        @svcd.api
        async def check(self) -> list[Any]:
            data = bytes(range(250)) * 4000
            x = np.frombuffer(data, "u1")
            told = await self.model.writable(x=x, view=memoryview(data), data=memoryview(data), small=memoryview(b"x"))
            built = await self.model.to_async.built()
            assert built.shape == (1000, 1000) and (built == 7).all()
            try:
                built[0, 0] = 1
            except ValueError as error:
                told.append(str(error))
            mine = svcd.empty(MANY, "u4")
            mine[:] = 3
            part = await self.model.part(x=mine, start=10, end=500_000)
            assert part.shape == (499_990,) and (part == 3).all() and not part.flags.writeable
            try:
                mine[0] = 1
            except ValueError as error:
                told.append(str(error))
            assert await self.model.as_view(data=data) == data[1:]
            told.append(await self.model.forwarded(x=part))
            told.append(await self.model.forwarded(x=np.ones(4 * MANY)))  # so large that a thread copies it
            told.append(await self.model.to_async.on_thread(x=np.ones(MANY)))
            return told

        @svcd.api
        async def used(self) -> int:
            while used := of_process().used:
                await trio.sleep(0.01)
            return used
"""

EXPECTED = [
    *(False, False, "bytes", "memoryview"),
    *(["assignment destination is read-only"] * 2),
    3 * 499_990,
    4_000_000,
    1,
]


def arenas_of(pid: int) -> int:
    """Return how many arenas a process has open or mapped."""
    opened = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    mapped = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "svcd-arena" in line]
    assert sum("svcd-arena" in name for name in opened) == 1  # its own; those of others are only mapped
    assert sum("rw-s" in line for line in mapped) == 1
    return len(mapped)


@pytest.mark.parametrize("toml", ["", 'colocate = [["Entry", "Model"]]\n'], ids=["apart", "colocated"])
def test_arrays_are_the_same_under_up(make_app: MakeApp, toml: str) -> None:
    before = in_shm()
    app = make_app(SERVICE, toml, entry="Entry").up()
    for _ in range(3):
        assert app.post("check", {}) == (200, EXPECTED)
    assert app.post("used", {}) == (200, 0)  # nothing is kept once the calls are over, neither here nor there
    pids = {row["service"]: row["pid"] for row in app.rows()}
    assert arenas_of(pids["Deep"]) == 2
    assert arenas_of(pids["Model"]) == 3  # its own, that of Deep, and that of Entry or, colocated, of the ingress
    assert in_shm() <= before
    if not toml:
        os.kill(pids["Deep"], 9)
        wait_until(lambda: app.row("Deep")["state"] == "ready" and app.row("Deep")["pid"] != pids["Deep"], "a new Deep")
        assert app.post("check", {}) == (200, EXPECTED)
        assert arenas_of(pids["Model"]) == 3


def test_arrays_are_the_same_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from running import write_app

    folder = write_app(tmp_path / "app", SERVICE, entry="Entry")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "service", raising=False)
    import service  # type: ignore[import-not-found]  # written just now

    try:
        with svcd.local(service.Entry) as entry:
            assert entry.check() == EXPECTED
    finally:
        del sys.modules["service"]
