"""The apps that the chaos tests kill parts of: `python` sources, and how a test knows how far they are.

An app leaves notes, empty files beside its service.py: the environment of replicas is not the tests' to fill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from running import RunningApp

_COMMON = """
    import os
    import signal
    import time
    from pathlib import Path

    import svcd

    def note(name):
        (Path(__file__).parent / name).touch()

"""

READING = (
    _COMMON
    + """
    note("reading")
    time.sleep(1000)

    @svcd.service
    class Entry:
        @svcd.api
        def ping(self) -> str:
            return "pong"
"""
)

STARTING = (
    _COMMON
    + """
    @svcd.service
    class Quick:
        @svcd.api
        def ping(self) -> str:
            return "pong"

    @svcd.service
    class Entry:
        def __init__(self) -> None:
            note("starting")
            time.sleep(1000)

        quick = svcd.depends(Quick)

        @svcd.api
        def ping(self) -> str:
            return self.quick.ping()
"""
)

READY = (
    _COMMON
    + """
    def daemonize(name, *, scrubbed):
        # Two forks and setsid, as daemons of old; with an empty environment nothing but descent tells whose it is.
        if os.fork():
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        note(name)
        if scrubbed:
            os.execve("/bin/sleep", ["sleep", "1000"], {})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()

    @svcd.service
    class Wild:
        def __init__(self) -> None:
            daemonize("scrubbed", scrubbed=True)
            daemonize("deaf", scrubbed=False)

        @svcd.api
        def ping(self) -> str:
            return "pong"

    @svcd.service
    class Entry:
        wild = svcd.depends(Wild)

        @svcd.api
        async def ping(self) -> str:
            return await self.wild.to_async.ping()
"""
)

STOPPING = (
    _COMMON
    + """
    if "SVCD_REPLICA" in os.environ and os.environ["SVCD_REPLICA"].startswith("Deaf"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    @svcd.service
    class Deaf:
        @svcd.api
        def ping(self) -> str:
            return "pong"

    @svcd.service
    class Slow:
        @svcd.api
        def ping(self) -> str:
            return "pong"

        @svcd.on_shutdown
        def think(self) -> None:
            note("stopping")
            time.sleep(1000)

    @svcd.service
    class Entry:
        deaf = svcd.depends(Deaf)
        slow = svcd.depends(Slow)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""
)

SOURCES = {"reading": READING, "starting": STARTING, "ready": READY, "stopping": STOPPING}
STOP_LIMITS = """
    [services.Deaf]
    stop_timeout = 100
    [services.Slow]
    stop_timeout = 100
"""


def toml_of(phase: str) -> str:
    """The configuration that goes with a source."""
    return STOP_LIMITS if phase == "stopping" else ""


def bring_to(app: RunningApp, phase: str) -> None:
    """Start the app and return when it is in the middle of this phase."""
    app.up(wait=phase in {"ready", "stopping"})
    notes = {"ready": ("scrubbed", "deaf")}.get(phase, (phase,))
    if phase == "stopping":
        assert app.daemon is not None
        app.daemon.terminate()
    for name in notes:
        wait_until((app.folder / name).exists, f"the app to be {name}")
