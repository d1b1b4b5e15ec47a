"""Faults under a steady load over HTTP: each request is answered or refused in time, and none lost for another's sake.

The load is an open loop without retries. `SVCD_FAULT_SECONDS=60` is the long form, as `make faults` has it; `SVCD_SEED`
repeats a run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fault_app import RATE, SECONDS, SEED, SERVICE, TWO_OF_EACH, strike

from running import wait_until
from svcd import ReplicaLost
from svcd.measure.http import HttpLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MakeApp

pytestmark = pytest.mark.timeout(120 + 3 * SECONDS)


def test_replicas_are_killed_and_idempotent_calls_never_fail(
    make_app: MakeApp, measured: Callable[[str, float], None]
) -> None:
    """The others fail only where they were in flight on the replica that was killed, at once, and are told so."""
    print(f"SVCD_FAULT_SECONDS={SECONDS:g} SVCD_SEED={SEED}")  # noqa: T201  (shown when it fails)
    app = make_app(SERVICE, TWO_OF_EACH, entry="Entry").up()
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "two of each")
    with (
        HttpLoad(app.url, "again", {"x": 1}, rate=RATE) as again,
        HttpLoad(app.url, "once", {"x": 1}, rate=RATE / 4) as once,
    ):
        kills = strike(app, "kill", "Work", "Entry")
    assert len(kills) >= SECONDS - 1
    print(f"{len(again.noted)} requests to an idempotent api, {len(again.failed)} failed")  # noqa: T201  (the figures)
    print(f"{len(once.noted)} to another one, {len(once.failed)} failed")  # noqa: T201  (as above)
    assert again.failed == []
    assert len(again.noted) >= RATE * SECONDS

    assert Counter(type(each.error) for each in once.failed).keys() <= {ReplicaLost}
    for each in once.failed:
        guilty = next((kill for kill in kills if kill.process in str(each.error)), None)
        assert guilty is not None, f"{each.error} names nobody who was killed"
        assert each.was_in_flight(guilty.at - 1, guilty.at + 1)
        measured(
            "kill -9 under load: a call in flight that cannot be sent again fails after", each.answered - guilty.at
        )
    for kill in kills:
        if kill.noticed is not None and kill.back is not None:
            measured("kill -9 under load: the daemon has noticed after", kill.noticed)
            measured("kill -9 under load: another process serves after", kill.back)
