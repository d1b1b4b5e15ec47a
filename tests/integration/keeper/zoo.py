"""The ill-behaved children: `python zoo.py NAME [FILE]`.

FILE gets the pid of a grandchild, or is made when all is set up.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

NOTE = Path(sys.argv[2]) if len(sys.argv) > 2 else None


def rest() -> None:
    """Stay for ever."""
    while True:
        signal.pause()


def note(text: str) -> None:
    """Leave a note for the test, whole at once, where one is wanted."""
    if NOTE is None:
        return
    scratch = NOTE.with_suffix(".scratch")
    scratch.write_text(text)
    scratch.rename(NOTE)


def _wait_for_the_note() -> None:
    """Return once a grandchild has written it, where one is wanted."""
    while NOTE is not None and not NOTE.exists():
        time.sleep(0.001)


def ignores_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    note("")
    rest()


def _daemonize(*, scrub: bool) -> None:
    """Double fork and setsid, as daemons of old; the grandchild writes down its pid."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    note(str(os.getpid()))
    if scrub:
        os.execve("/bin/sleep", ["sleep", "1000"], {})  # noqa: S606 - an empty environment is the point
    rest()


def daemonizes_and_stays() -> None:
    _daemonize(scrub=False)
    rest()


def daemonizes_and_leaves() -> None:
    _daemonize(scrub=False)
    _wait_for_the_note()  # who is left behind is killed at once, and may not have come to write it
    sys.exit(3)


def scrubs_and_stays() -> None:
    _daemonize(scrub=True)
    rest()


def leaves_a_scrubbed_child() -> None:
    """The child has no mark and its own session, but it is still this process's child when this one ends."""
    if os.fork() == 0:
        os.setsid()
        note(str(os.getpid()))
        os.execve("/bin/sleep", ["sleep", "1000"], {})  # noqa: S606 - an empty environment is the point
    _wait_for_the_note()


def child_holds_the_pipe() -> None:
    if os.fork() == 0:
        rest()
    os.write(1, b"last words\n")


def floods() -> None:
    block = b"".join(b"%06d %s\n" % (number, b"x" * 90) for number in range(640))
    while True:
        os.write(1, block)


def closes_all() -> None:
    note("")
    os.closerange(0, 256)
    rest()


def stops_itself() -> None:
    note("")
    os.kill(os.getpid(), signal.SIGSTOP)


def forks_many() -> None:
    for number in range(100):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            rest()
    note("")
    rest()


def changes_its_group() -> None:
    """It leads its session and must stay, but its child leaves: a signal to the group would not find that one."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(str(os.getpid()))
        rest()
    rest()


def hops() -> None:
    """Run away from SIGKILL: each process forks the next, in a session of its own, and ends."""
    if os.fork():
        note("")
        rest()
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()


def binary() -> None:
    os.write(1, bytes(range(256)) * 4 + b"\nafter\n")


def long_line() -> None:
    os.write(1, "é".encode() * 100_000 + b"\n")


globals()[sys.argv[1]]()
