"""Every response says where its time went: hop by hop, with the waiting of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import RunningApp

SERVICE = """
    from collections.abc import AsyncIterator

    import trio

    import svcd


    @svcd.service(traffic={"max_concurrency": 1})
    class Deep:
        @svcd.api
        async def slow(self, seconds: float) -> None:
            await trio.sleep(seconds)


    @svcd.service
    class Middle:
        deep = svcd.depends(Deep)

        @svcd.api
        def work(self, seconds: float) -> None:
            self.deep.to_sync.slow(seconds=seconds)


    @svcd.service
    class Entry:
        middle = svcd.depends(Middle)
        deep = svcd.depends(Deep)

        @svcd.api
        async def nothing(self) -> int:
            return 1

        @svcd.api
        async def twice(self, seconds: float) -> int:
            calls = [self.middle.to_async.work(seconds=seconds) for _ in range(2)]
            await svcd.gather(*calls, self.deep.slow(seconds=seconds))
            return 1

        @svcd.api
        async def stream(self) -> AsyncIterator[int]:
            yield 1

        @svcd.api
        async def fail(self) -> None:
            raise ValueError
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def times_of(header: str) -> dict[str, dict[str, float]]:
    """Read the header: {name: {parameter: number}}."""
    metrics = [metric.strip().split(";") for metric in header.split(",")]
    assert all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name, *_ in metrics)
    return {name: {key: float(value) for key, _, value in (p.partition("=") for p in rest)} for name, *rest in metrics}


def test_times_of_every_hop(make_app: Callable[..., RunningApp]) -> None:
    app = make_app(SERVICE, entry="Entry").up()

    def ask(path: str, body: str = "{}") -> tuple[int, dict[str, dict[str, float]], str]:
        with app.connection() as connection:
            headers = {"Content-Type": "application/json", "traceparent": PARENT}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, times_of(answer.headers["server-timing"]), answer.headers["traceparent"]

    status, times, trace = ask("/nothing")
    assert status == 200
    assert list(times) == ["ingress", "Entry.nothing"]
    assert times["ingress"]["dur"] >= times["Entry.nothing"]["dur"] > 0
    assert trace.split("-")[1] == PARENT.split("-")[1]
    assert trace.split("-")[2] != PARENT.split("-")[2]

    # Deep takes one call at a time: of three that are made at once two wait, one of them twice as long as a call takes.
    _, times, _ = ask("/twice", '{"seconds": 0.05}')
    assert list(times) == ["ingress", "Entry.twice", "Deep.slow", "Middle.work"]
    assert times["Deep.slow"]["calls"] == 3
    assert times["Middle.work"]["calls"] == 2
    assert times["Deep.slow"]["dur"] - times["Deep.slow"]["queue"] >= 3 * 50
    # `def` apis have one thread: the second call of work waits for it until the first has ended.
    assert times["Middle.work"]["queue"] >= 50
    assert times["Entry.twice"]["dur"] >= 3 * 50
    assert times["ingress"]["dur"] >= times["Entry.twice"]["dur"]

    assert list(ask("/stream")[1]) == ["ingress"]  # its head is out before it is over
    status, times, _ = ask("/fail")
    assert (status, list(times)) == (500, ["ingress"])
    status, times, trace = ask("/nowhere")
    assert (status, list(times)) == (404, ["ingress"])
    assert trace.split("-")[1] == PARENT.split("-")[1]
