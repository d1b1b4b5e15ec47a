"""Who is alive: the kernel's word, whatever way a process ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from svcd.tasks.owners import LockedOwners

if TYPE_CHECKING:
    from pathlib import Path

OWNER = """
import sys
from svcd.tasks.owners import LockedOwners
owners = LockedOwners(sys.argv[1])
print(owners.me, flush=True)
sys.stdin.read()
"""


def test_an_owner_lives_as_long_as_its_process(tmp_path: Path) -> None:
    path = str(tmp_path / "owners")
    mine = LockedOwners(path)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        other = int(process.stdout.readline())
        assert mine.is_alive(other)
        assert mine.is_alive(mine.me)
        assert not mine.is_alive(other + 1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not mine.is_alive(other)
    mine.close()


def test_owners_of_one_process_are_apart_and_closing_is_dying(tmp_path: Path) -> None:
    path = str(tmp_path / "owners")
    first, second = LockedOwners(path), LockedOwners(path)
    assert first.is_alive(second.me)
    assert second.is_alive(first.me)
    first.close()
    assert not second.is_alive(first.me)
    second.close()
