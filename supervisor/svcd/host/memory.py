"""How much memory a replica has, where no control group counts it: a cheap look, and an exact one before judging.

The cheap look adds up resident pages, so what two of the replica's processes share counts twice, and so do pages that
other replicas share with it, as arenas for large values are. The exact one gives each its part (Pss of proc(5)), and
leaves out pages of files, which the kernel drops when it needs room: a model that is mapped is not held against it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from svcd.host.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Iterator


def resident(pid: int) -> int:
    """Return the resident bytes of a process and all below it, shared ones counted as often as they are shared."""
    return sum(_resident(each) for each in (pid, *descendants(pid)))


def own_memory(pid: int) -> int:
    """Return the bytes that a process and all below it keep from others. Takes milliseconds for a large process."""
    return sum(_own(each) for each in (pid, *descendants(pid)))


def _own(pid: int) -> int:
    fields = dict(_rollup(pid))
    if not fields:  # it has ended, or does not show itself as a set-user-ID program does not
        return _resident(pid)
    return max(0, fields.get("Pss", 0) - fields.get("Pss_File", 0))


def _resident(pid: int) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _rollup(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the fields of smaps_rollup in bytes; none of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            yield name, int(words[0]) * 1024
