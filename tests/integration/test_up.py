"""From `svcd up` to an HTTP answer and back to nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import MakeApp

PIPELINE = """
    import svcd

    @svcd.service
    class Words:
        @svcd.api
        async def split(self, text: str) -> list[str]:
            return text.split()

    @svcd.service
    class Counter:
        words = svcd.depends(Words)

        @svcd.api
        async def count(self, text: str) -> int:
            return len(await self.words.split(text=text))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_and_a_signal_stops_it_cleanly(make_app: MakeApp, number: signal.Signals) -> None:
    app = make_app(PIPELINE, entry="Counter").up()
    assert app.post("count", {"text": "a b c"}) == (200, 3)
    assert app.daemon is not None
    app.daemon.send_signal(number)
    assert app.daemon.wait(30) == 0
    app.assert_gone()
    assert not app.runtime.exists()
    log = app.log("daemon")
    assert log.index("ingress/0: draining -> stopped") < log.index("Counter/0: draining -> stopped")
    assert log.index("Counter/0: draining -> stopped") < log.index("Words/0: draining -> stopped")


def test_ps_names_every_replica(make_app: MakeApp) -> None:
    app = make_app(PIPELINE, "[services.Words]\nscaling = { min_replicas = 2 }\n", entry="Counter").up()
    rows = {f"{row['service']}/{row['replica']}": row for row in app.ps()}
    assert set(rows) == {"ingress/0", "Counter/0", "Words/0", "Words/1"}
    assert all(row["state"] in {"ready", "starting"} for row in rows.values())
    assert list(rows["Counter/0"]) == [
        *(
            "service",
            "version",
            "replica",
            "process",
            "state",
            "pid",
            "gpus",
            "cpu_percent",
            "rss_bytes",
            "gpu_memory_bytes",
        ),
        *("restarts", "since", "in_flight", "queued", "last_exit", "reason"),
    ]
    assert rows["Counter/0"]["pid"] in app.processes()


def test_down_stops_it_and_says_so(make_app: MakeApp) -> None:
    app = make_app(PIPELINE, entry="Counter").up()
    assert app.svcd("down").stdout == "stopped\n"
    assert app.daemon is not None
    assert app.daemon.wait(30) == 0
    assert app.svcd("down").stdout == "not running\n"
    app.svcd("ps", code=3)
