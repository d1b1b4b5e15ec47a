"""A stop that is held up: it says by whom, keeps to its limits, and leaves the reason behind."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from running import SVCD, wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

SERVICE = """
    import time

    import svcd

    @svcd.service
    class Slow:
        @svcd.api
        def doze(self) -> int:
            time.sleep(600)
            return 1

        @svcd.on_shutdown
        def linger(self) -> None:
            time.sleep(600)

    @svcd.service
    class Entry:
        slow = svcd.depends(Slow)

        @svcd.api
        async def doze(self) -> int:
            return await self.slow.to_async.doze()
"""
TOML = """
    [services.Slow]
    drain_timeout = "6s"
    stop_timeout = "200ms"
    [services.Entry]
    drain_timeout = "100ms"
"""


def test_a_stop_says_whom_it_waits_for_and_why_it_killed(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up()
    call = threading.Thread(target=app.svcd, args=("call", "Slow.doze"), kwargs={"code": None})
    call.start()
    try:
        wait_until(lambda: app.row("Slow")["in_flight"], "the call to run")
        with ThreadPoolExecutor() as pool:  # at once: a command takes seconds to start on a busy machine
            patient = pool.submit(app.svcd, "down")
            late = app.svcd("down", "--timeout", "1", code=5)
            done = patient.result()
        assert late.stderr.startswith("svcd: still stopping after 1 s; ")
        assert app.daemon is not None
        assert app.daemon.poll() == 0, "svcd down returned before the daemon had ended"
        assert done.stdout == "stopped\n"
        assert "waiting for Slow/0 (draining for " in done.stderr
        assert ", 1 call in flight" in done.stderr
    finally:
        call.join()
    reasons = [
        event["reason"]
        for event in map(json.loads, app.svcd("events", "--json", "Slow").stdout.splitlines())
        if event["from"] == event["to"] == "draining"
    ]
    assert reasons == [
        "calls still ran after its drain_timeout of 6 s; they are cut off",
        "not gone within its stop_timeout of 0.2 s; killed by SIGKILL",
    ]
    assert all(reason in app.log("daemon") for reason in reasons)
    assert all(reason in app.stderr for reason in reasons)


def test_a_stop_does_not_wait_for_the_end_of_the_next_daemon(make_app: MakeApp) -> None:
    app = make_app(SERVICE, '[services.Slow]\nstop_timeout = "2s"\n', entry="Entry").up()
    assert app.daemon is not None
    options = [option if option != "-f" else "--file" for option in app.options]
    with subprocess.Popen([*SVCD, "down", *options], env=app.env, stdout=subprocess.PIPE, text=True) as down:
        wait_until(lambda: "stopping: svcd down" in app.log("daemon"), "the stop to begin")
        down.send_signal(signal.SIGSTOP)  # so that it is late to see the end
        app.daemon.wait()
        app.up()
        down.send_signal(signal.SIGCONT)
        assert down.communicate(timeout=20)[0] == "stopped\n"
    assert not app.daemon_ended
    app.svcd("down")
