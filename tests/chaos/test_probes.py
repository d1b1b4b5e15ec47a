"""Replicas that are stopped, stuck or looping, or say themselves that they are not well: routed around and replaced."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fault_app import SECONDS

from running import RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELD = 10.0 if SECONDS >= 60 else 1.5
"""Seconds for which a call within its deadline holds the GIL."""
SERVICE = """
    import ctypes
    import os
    import time
    from pathlib import Path

    import svcd
    import trio

    HERE = Path(__file__).parent
    C = ctypes.PyDLL(None)  # its functions run with the GIL held

    def note_the_victim():
        (HERE / "writing").write_text(str(os.getpid()))
        (HERE / "writing").rename(HERE / "victim")

    class Wild:
        @svcd.api
        async def who(self) -> int:
            return os.getpid()

        @svcd.api
        def in_c(self) -> int:
            note_the_victim()
            C.usleep(HELD if type(self).__name__ == "Long" else 1_000_000_000)
            return os.getpid()

        @svcd.api
        def on_a_thread(self) -> None:
            note_the_victim()
            while True:
                pass

        @svcd.api
        async def on_the_loop(self) -> None:
            note_the_victim()
            while True:
                pass

    PROBE = {"period": 0.1, "timeout": 0.3, "threshold": 2}

    @svcd.service(liveness=PROBE)
    class Short(Wild):
        pass

    @svcd.service(liveness=PROBE)
    class Long(Wild):
        pass

    @svcd.service(liveness=PROBE, async_backend="asyncio")
    class Other(Wild):
        pass

    @svcd.service(readiness={"period": 0.05, "timeout": 0.2, "threshold": 2}, liveness=PROBE)
    class Told:
        def __is_ready__(self) -> bool:
            if (HERE / "hangs").exists():
                time.sleep(0.5)
            return not (HERE / "not ready").exists()

        async def __is_alive__(self) -> bool:
            return not (HERE / f"{os.getpid()} is dead").exists()

        @svcd.api
        async def who(self) -> int:
            return os.getpid()

    @svcd.service(traffic={"timeout": 20})
    class Entry:
        short, long, other, told = svcd.depends(Short), svcd.depends(Long), svcd.depends(Other), svcd.depends(Told)

        @svcd.api
        async def ask(self, service: str, api: str, timeout: float = 20) -> int | str | None:
            with trio.move_on_after(timeout):
                try:
                    return await getattr(getattr(self, service).to_async, api)()
                except svcd.CallError as error:
                    return type(error).__name__
            return "late"
""".replace("HELD", f"{HELD * 1e6:.0f}")
TOML = """
    [services.Short]
    scaling = { min_replicas = 2 }
"""
DEADLINE = 0.5


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with RunningApp(write_app(tmp_path_factory.mktemp("probes") / "app", SERVICE, TOML, entry="Entry")) as app:
        yield app.up()


def ask(app: RunningApp, service: str, api: str, timeout: float = 20) -> Any:
    status, answer = app.post("ask", {"service": service, "api": api, "timeout": timeout})
    assert status == 200, answer
    return answer.decode() if isinstance(answer, bytes) else answer


def pids(app: RunningApp, service: str) -> set[int]:
    return {row["pid"] for row in app.rows() if row["service"] == service and row["state"] == "ready"}


def pid_of(app: RunningApp, service: str) -> int:
    """The pid of a service's one replica, once that is ready."""
    pid: int = wait_until(lambda: pids(app, service), f"{service} to be ready").pop()
    return pid


@pytest.mark.parametrize("how", ["stopped", "in_c", "on_a_thread", "on_the_loop"])
def test_it_is_routed_around_and_replaced(app: RunningApp, measured: Callable[[str, float], None], how: str) -> None:
    before = wait_until(lambda: len(found := pids(app, "Short")) == 2 and found, "both replicas")
    began = time.monotonic()
    if how == "stopped":
        victim = min(before)
        os.kill(victim, signal.SIGSTOP)
    else:
        (app.folder / "victim").unlink(missing_ok=True)
        assert ask(app, "short", how, DEADLINE) in {"late", "DeadlineExceeded"}
        measured("a call into what is wedged: past its deadline by", time.monotonic() - began - DEADLINE)
        wait_until((app.folder / "victim").exists, "one to be wedged")
        victim = int((app.folder / "victim").read_text())
    wait_until(lambda: victim not in pids(app, "Short"), "it to be taken out")
    measured("a wedged replica: routed around after", time.monotonic() - began)
    asked = {ask(app, "short", "who") for _ in range(5)}
    after = wait_until(lambda: len(found := pids(app, "Short")) == 2 and found, "it to be replaced")
    measured("a wedged replica: replaced after", time.monotonic() - began)
    assert after & before == before - {victim}
    assert asked <= after, "the other one, or the new one as soon as it is there"
    log = app.log("Short.0") + app.log("Short.1")
    assert how == "stopped" or f" in {how}\n" in log, "its stacks are in its log"


def test_a_wedged_asyncio_loop_is_noticed_too(app: RunningApp) -> None:
    before = pid_of(app, "Other")
    assert ask(app, "other", "on_the_loop", DEADLINE) in {"late", "DeadlineExceeded"}
    wait_until(lambda: before not in pids(app, "Other"), "it to be taken out")
    assert ask(app, "other", "who") != before
    assert "its asyncio loop has not turned" in app.row("Other")["last_exit"]


def test_one_that_holds_the_gil_within_its_deadline_is_left_alone(app: RunningApp) -> None:
    """For five times its liveness limit of 0.3 s; in the long form for 10 s."""
    before = app.row("Long")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(ask, app, "long", "in_c")
        row = wait_until(lambda: (row := app.row("Long"))["state"] == "unready" and row, "callers to be kept away")
        assert row["reason"].endswith("left alone while a call is within its deadline")
        waiting = pool.submit(ask, app, "long", "who")
        assert call.result() == before["pid"]
        assert waiting.result() == before["pid"], "calls that came meanwhile waited for it"
    assert app.row("Long")["restarts"] == 0


def is_told(app: RunningApp, reason: str) -> bool:
    row = app.row("Told")
    return (row["state"], row["reason"]) == ("unready", reason)


def test_its_hook_keeps_callers_away_and_lets_them_come_back(app: RunningApp) -> None:
    before = pid_of(app, "Told")
    for sign, reason in (("not ready", "returned False"), ("hangs", "did not return within 0.2 s")):
        (app.folder / sign).touch()
        wait_until(
            lambda reason=reason: is_told(app, f"__is_ready__ {reason}"), f"callers to be kept away: it {reason}"
        )
        (app.folder / sign).unlink()
        assert ask(app, "told", "who") == before


def test_its_hook_has_it_replaced(app: RunningApp) -> None:
    before = pid_of(app, "Told")
    (app.folder / f"{before} is dead").touch()
    wait_until(lambda: app.row("Told")["pid"] != before, "it to be replaced")
    assert ask(app, "told", "who") != before
    assert app.row("Told")["last_exit"] == "__is_alive__ returned False"
