"""Replicas that other programs leave no processor for: what only waits is left alone, what is wedged is replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakeApp

BURNERS = 6
SERVICE = """
    import hashlib
    import signal
    import threading
    import time
    from pathlib import Path

    import svcd

    PROBE = {"period": 0.1, "timeout": 0.4, "threshold": 2}
    HERE = Path(__file__).parent

    def burn(name):
        '''Want all of a processor, without the GIL: who wants little gets it even of a small share.'''
        work = lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        threading.Thread(target=work, daemon=True).start()
        (HERE / f"{name} burns").touch()

    class Burning:
        @svcd.on_startup
        async def listen(self) -> None:
            signal.signal(signal.SIGUSR1, lambda *_: time.sleep(1000))
            signal.signal(signal.SIGUSR2, lambda *_: burn(type(self).__name__))

    @svcd.service(liveness=PROBE)
    class Wedged(Burning):
        pass

    @svcd.service(liveness=PROBE)
    class Calm(Burning):
        wedged = svcd.depends(Wedged)

        @svcd.api
        async def nothing(self) -> None:
            pass
"""


@contextlib.contextmanager
def starved(pids: list[int]) -> Iterator[None]:
    """Leave these processes next to nothing of one processor."""
    cores = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        for _ in range(BURNERS):
            burner = subprocess.Popen([sys.executable, "-ISc", "while True: pass"], start_new_session=True)
            stack.callback(burner.wait)
            stack.callback(burner.kill)
            os.sched_setaffinity(burner.pid, {max(cores)})
        for pid in pids:
            _schedule(pid, {max(cores)}, os.SCHED_IDLE, autogroup=19)
        yield
    for pid in pids:
        with contextlib.suppress(PermissionError, ProcessLookupError, FileNotFoundError):
            _schedule(pid, cores, os.SCHED_OTHER, autogroup=0)


def _schedule(pid: int, cores: set[int], policy: int, *, autogroup: int) -> None:
    """Say where all threads of a process run, and how."""
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):  # noqa: PTH208 - names are all that is wanted
        os.sched_setaffinity(thread, cores)
        os.sched_setscheduler(thread, policy, os.sched_param(0))
    # Sessions may share a core evenly, whatever the priorities within each: autogroups, see sched(7).
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(autogroup))


def test_what_waits_for_a_processor_is_left_alone_and_what_is_wedged_beside_it_is_replaced(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Calm").up()
    calm, wedged = app.row("Calm")["pid"], app.row("Wedged")["pid"]
    for name, pid in (("Calm", calm), ("Wedged", wedged)):
        os.kill(pid, signal.SIGUSR2)
        wait_until((app.folder / f"{name} burns").exists, f"{name} to want a processor")
    with starved([calm, wedged]):
        told = "/0 and 1 more waited for a processor"
        wait_until(lambda: told in app.svcd("status").stdout, "the daemon to see that both would be late else")
        assert {row["restarts"] for row in app.rows()} == {0}
        os.kill(wedged, signal.SIGUSR1)
        wait_until(lambda: app.row("Wedged")["state"] != "ready", "the wedged one to be given up")
    wait_until(lambda: app.row("Wedged")["restarts"], "the wedged one to be replaced")
    assert "no sign of life" in app.row("Wedged")["last_exit"]
    after = app.row("Calm")
    assert (after["pid"], after["restarts"], after["state"]) == (calm, 0, "ready")
