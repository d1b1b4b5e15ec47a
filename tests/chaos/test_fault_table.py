"""Faults under a steady load over HTTP: each request is answered or refused in time, and none lost for another's sake.

The load is an open loop without retries. `SVCD_FAULT_SECONDS=60` is the long form, as `make faults` has it; `SVCD_SEED`
repeats a run. These are the faults, and where each is shown (files without a folder are beside this one):

| fault | shown by |
| --- | --- |
| `kill -9` of replicas, apis idempotent or not | `test_replicas_are_killed_and_idempotent_calls_never_fail` |
| an ingress of two killed | `test_one_of_two_ingresses_is_killed_and_new_connections_always_succeed` |
| a replica stopped | `test_replicas_are_stopped_and_their_calls_go_to_others` |
| stopped, stuck in C code, looping; a call that holds the GIL within its deadline | `test_probes.py` |
| `kill -9` of a daemon that another one follows | `test_adoption.py` |
| `kill -9` of daemon, keeper or both, at every transition | `test_every_transition.py`, `test_adoption_ends.py` |
| `kill -9` of a replica in each of its states, of one with tasks | `test_replica_deaths.py`, `test_task_deaths.py` |
| the zoo of ill-behaved children | `test_zoo.py`, `../integration/keeper/test_keeper_children.py` |
| 1 GB on stdout, no log directory, 256 descriptors | `test_scarcity.py` |
| a full disk | `../integration/test_machine_ails.py`, `../integration/keeper/test_keeper_logs.py` |
| commands of many shells at once | `test_twenty_shells.py` |
| 200 idle replicas | `test_idle_crowd.py` |
| a crash loop beside healthy services | `test_a_crash_loop_beside_healthy_services` |
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from fault_app import RATE, SECONDS, SEED, SERVICE, TWO_OF_EACH, strike

from running import wait_until
from svcd import ReplicaLost
from svcd.host.processes import read_stat
from svcd.measure.http import HttpLoad
from svcd.policy.restart import BUDGET, History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    assert len(kills) > SECONDS / 2, "now and then nobody may be up that could be killed"
    took = sorted(each.answered - each.asked for each in again.noted)
    print(f"answered after {took[len(took) // 2]:.3f} s (median), {took[-1]:.3f} s at most")  # noqa: T201  (the figures)
    print(f"{len(again.noted)} requests to an idempotent api, {len(again.failed)} failed")  # noqa: T201  (as above)
    print(f"{len(once.noted)} to another one, {len(once.failed)} failed")  # noqa: T201  (as above)
    assert again.failed == []
    assert len(again.noted) >= RATE * SECONDS

    assert Counter(type(each.error) for each in once.failed).keys() <= {ReplicaLost}
    for each in once.failed:
        guilty = next((kill for kill in kills if f"{kill.process} " in str(each.error)), None)
        assert guilty is not None, f"{each.error} names nobody who was killed"
        assert each.was_in_flight(guilty.at - 1, guilty.at + (guilty.noticed or 0))
        measured(
            "kill -9 under load: a call in flight that cannot be sent again fails after", each.answered - guilty.at
        )
    for kill in kills:
        if kill.noticed is not None and kill.back is not None:
            measured("kill -9 under load: the daemon has noticed after", kill.noticed)
            measured("kill -9 under load: another process serves after", kill.back)


def test_one_of_two_ingresses_is_killed_and_new_connections_always_succeed(make_app: MakeApp) -> None:
    app = make_app(SERVICE, "[app.ingress]\nreplicas = 2\n", entry="Entry").up()
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "both")
    with (
        HttpLoad(app.url, "again", {"x": 1}, rate=RATE / 4, anew=True) as fresh,
        HttpLoad(app.url, "again", {"x": 1}, rate=RATE / 4) as kept,
    ):
        kills = strike(app, "kill", "ingress", every=2.0)
    cut = fresh.failed + kept.failed
    print(f"{len(fresh.noted)} + {len(kept.noted)} requests, {len(cut)} cut by {len(kills)} kills of an ingress")  # noqa: T201  (the figures)
    assert len(fresh.noted) > len(kills)
    for each in cut:
        # On a connection that the dead one had taken: of those that were made after its end none is cut.
        assert any(each.was_in_flight(kill.at - 1, kill.at + (kill.noticed or 0)) for kill in kills), each.error


QUICK_TO_NOTICE = """
    [services.Work.liveness]
    period = "100ms"
    timeout = "300ms"
    threshold = 2
    [services.Entry.liveness]
    period = "100ms"
    timeout = "300ms"
    threshold = 2
"""


def test_replicas_are_stopped_and_their_calls_go_to_others(
    make_app: MakeApp, measured: Callable[[str, float], None]
) -> None:
    app = make_app(SERVICE, TWO_OF_EACH + QUICK_TO_NOTICE, entry="Entry").up()
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "two of each")
    with HttpLoad(app.url, "again", {"x": 1}, rate=RATE / 2) as again:
        stops = strike(app, "stop", "Work", "Entry", every=5.0)
    assert again.failed == []
    assert any(stop.back is not None for stop in stops), "its liveness limit has a stopped one replaced"
    measured("SIGSTOP under load: a request is answered after at most", max(e.answered - e.asked for e in again.noted))


LATE = 5.0
"""Seconds that a loaded machine may be late with the next attempt."""
CRASHES = """
    import os
    import threading

    @svcd.service
    class Crash:
        def __init__(self) -> None:
            self.timer = threading.Timer(0.1, os._exit, (7,))

        @svcd.on_startup
        def light_the_fuse(self) -> None:
            self.timer.start()

        @svcd.api
        async def never(self) -> None:
            pass

    @svcd.service
    class Front(Entry):
        crash = svcd.depends(Crash, optional=True)

        @svcd.api(idempotent=True)
        async def other(self) -> None:
            await self.crash.never()
"""


def test_a_crash_loop_beside_healthy_services(make_app: MakeApp) -> None:
    """They never notice, the loop ends with its budget, and costs daemon and keeper next to nothing."""
    app = make_app(SERVICE + dedent(CRASHES), entry="Front").up()
    assert app.daemon is not None
    ours = (app.daemon.pid, *app.guard_and_keeper())
    began, before = time.monotonic(), _cpu_seconds(ours)
    healthy = {row["service"]: (row["pid"], 0) for row in app.rows() if row["service"] != "Crash"}
    with HttpLoad(app.url, "once", {"x": 1}, rate=RATE / 4) as load:
        wait_until(lambda: app.row("Crash")["state"] == "failed", "the loop to end")
        used, took = _cpu_seconds(ours) - before, time.monotonic() - began
        status, answer = app.post("other")
    assert load.failed == []
    assert {row["service"]: (row["pid"], row["restarts"]) for row in app.rows() if row["service"] != "Crash"} == healthy
    assert (status, answer["error"]["code"]) == (503, "unavailable")
    ends = [json.loads(line) for line in app.svcd("events", "--json", "Crash").stdout.splitlines()]
    pauses = [event["after"] for event in ends if (event["from"], event["to"]) == ("backoff", "pending")]
    assert len(pauses) == BUDGET - 1
    ceilings = [History(failures).delay(1.0) for failures in range(1, BUDGET)]
    assert all(pause < ceiling + LATE for pause, ceiling in zip(pauses, ceilings, strict=True)), (pauses, ceilings)
    assert app.row("Crash")["restarts"] == BUDGET - 1
    assert used < took / 2, "daemon, guard and keeper together"
    print(f"{len(load.noted)} requests, none failed; pauses between attempts: {pauses}")  # noqa: T201  (the figures)
    print(f"daemon, guard and keeper: {used:.2f} s of CPU in {took:.1f} s")  # noqa: T201  (the figures)


def _cpu_seconds(pids: Iterable[int]) -> float:
    ticks = [stat.cpu_ticks for pid in pids if (stat := read_stat(pid))]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")
