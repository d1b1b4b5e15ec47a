"""A deadline of 200 ms over five hops (async, def, batch, stream, def), one of which is too slow."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chain_services import First

import svcd
from running import RunningApp, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = tmp_path_factory.mktemp("chain")
    shutil.copy(Path(__file__).with_name("chain_services.py"), folder)
    (folder / "svcd.toml").write_text('[app]\nservice = "chain_services:First"\nhttp = "127.0.0.1:0"\n')
    with RunningApp(folder) as app:
        yield app.up()


def settled(counts: Callable[[], Any]) -> list[list[int]]:
    """What the hops have counted once nothing runs in any of them any more."""

    def found() -> Any:
        try:
            told = counts()
        except svcd.DeadlineExceeded:  # this question has 200 ms too, on a machine that may be busy
            return None
        return told if isinstance(told, list) and all(began == over for began, _, over in told) else None

    return wait_until(found, "every hop to have stopped")


@pytest.mark.parametrize("slow", [1, 2, 3, 4, 5])
def test_a_slow_hop_is_504_and_nothing_goes_on(app: RunningApp, slow: int) -> None:
    def counts() -> Any:
        return app.post("counts")[1]

    before = settled(counts)

    def came_so_far() -> bool:
        status, answer = app.post("run", {"slow": slow})
        assert (status, answer["error"]["code"]) == (504, "deadline")
        assert "run" in answer["error"]["message"]
        return all(now[0] > then[0] for now, then in list(zip(settled(counts), before, strict=True))[:slow])

    wait_until(came_so_far, "a call to get as far as the slow hop")
    with ThreadPoolExecutor(6) as pool:  # and when there are more of them, which wait for one another
        assert {status for status, _ in pool.map(lambda _: app.post("run", {"slow": slow}), range(6))} == {504}
    after = settled(counts)
    began = [now[0] - then[0] for now, then in zip(after, before, strict=True)]
    assert [now[1] for now in after] == [0] * 5  # none was delivered after its deadline
    assert not any(began[slow:]) or slow == 4  # and no further: code that went on called nobody any more
    wait_until(lambda: app.post("run", {"slow": 0}) == (200, 2), "a call in which no hop is slow")


def test_the_same_holds_within_one_process() -> None:
    with svcd.local(First) as app:
        for slow in (1, 2, 3, 4, 5):
            before = settled(app.counts)

            def came_so_far(slow: int = slow, before: list[list[int]] = before) -> bool:
                with pytest.raises(svcd.DeadlineExceeded):
                    app.run(slow=slow)
                return all(now[0] > then[0] for now, then in list(zip(settled(app.counts), before, strict=True))[:slow])

            wait_until(came_so_far, "a call to get as far as the slow hop")
            after = settled(app.counts)
            assert [now[1] for now in after] == [0] * 5
            assert slow == 4 or [now[0] for now in after[slow:]] == [then[0] for then in before[slow:]]
