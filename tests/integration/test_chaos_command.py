"""`svcd chaos` against a running app: each fault, what becomes of it, and that it is taken back."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from running import PATIENCE, SVCD, wait_until
from svcd.host.pulses import state_of

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

SERVICE = """
    import svcd
    import trio


    @svcd.service(liveness={"period": 0.1, "timeout": 0.3, "threshold": 2})
    class Work:
        @svcd.api
        async def work(self, seconds: float = 0) -> int:
            await trio.sleep(seconds)
            return 1


    @svcd.service
    class Patient:
        work = svcd.depends(Work)

        @svcd.api
        async def ask(self) -> str:
            try:
                await self.work.work(seconds=1000)
            except svcd.ReplicaLost as error:
                return str(error)

        @svcd.api
        async def quick(self) -> int:
            return await self.work.work()
"""
TOML = """
    [services.Work]
    scaling = { min_replicas = 2, max_replicas = 2 }
    [services.Sleep]
    command = ["sleep", "1000"]
"""


def chaos(app: RunningApp, *args: str, code: int = 0) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(app.svcd("chaos", *args, "--json", code=code).stdout)
    return figures


def test_chaos(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Patient").up()
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "all to be ready")

    once = ("--every", "100ms", "--for", "100ms")
    first = chaos(app, "kill", "work", "--seed", "7", *once)
    (strike,) = first["strikes"]
    assert 0 < strike["noticed"] <= strike["back"]
    assert app.row("Work", int(strike["replica"][-1]))["last_exit"] == "killed by SIGKILL"
    assert first["lacking"] == []
    assert chaos(app, "kill", "Work", "--seed", "7", *once)["strikes"][0]["replica"] == strike["replica"]

    (stopped,) = chaos(app, "stop", "Work", "--seed", "3", "--every", "5s", "--for", "5s")["strikes"]
    assert stopped["back"] is not None, "its liveness limit has it replaced"

    patient = app.row("Patient")["pid"]
    assert len(chaos(app, "slow", "Work", "--every", "300ms", "--for", "600ms")["strikes"]) == 2
    with subprocess.Popen(
        [*SVCD, "chaos", *app.options, "stop", "Patient", "--every", "10s", "--for", "10s"],
        env=app.env,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        wait_until(lambda: state_of(patient) == "T", "it to be stopped")
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0
    assert "strikes   1" in out
    assert app.post("quick") == (200, 1), "it goes on"
    assert app.row("Patient")["pid"] == patient

    with app.connection() as client:
        client.request("POST", "/ask", b"{}")
        wait_until(lambda: any(row["service"] == "Work" and row["in_flight"] for row in app.rows()), "the call")
        figures = chaos(app, "drop", "Work", "--every", "50ms", "--for", "200ms", "--seed", "1")
        assert {strike["replica"] for strike in figures["strikes"]} == {"Work/0", "Work/1"}
        assert sum(strike["connections"] for strike in figures["strikes"]) > 0
        assert b"was lost while the call may have been running" in client.getresponse().read()
        chaos(app, "drop", "ingress", *once)
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)

    refused = app.svcd("chaos", "drop", "Sleep", *once, code=1).stderr
    assert "is a program" in refused
    assert "Traceback" not in refused
    assert "no service Worlds" in app.svcd("chaos", "kill", "Worlds", code=4).stderr
    assert "not a single strike" in app.svcd("chaos", "kill", "Work", "--every", "2s", "--for", "1s", code=2).stderr
    assert "Work/0  " in (events := app.svcd("events", "Work").stdout)
    assert "chaos drop (svcd chaos)" in events
