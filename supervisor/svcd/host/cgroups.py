"""The control groups of one process, as the keeper handles them: made before it, killed and removed after it.

Which folders and what is written there is the daemon's decision (svcd.host.cgroup_tree); this is only the hand that
does it. Folders are of this process alone, so what the kernel counts there is this process's doing.

Law: stdlib only; nothing here blocks.
"""

from __future__ import annotations

import os
from contextlib import suppress

from svcd.host.strays import kill_trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Cgroups:
    """The control groups of one process; perhaps none."""

    def __init__(self, groups: Sequence[Sequence[Any]] = ()) -> None:
        """groups: as in `Spawn.cgroups`."""
        self._groups = groups

    def __repr__(self) -> str:
        """Where they are."""
        return f"<Cgroups {[group[0] for group in self._groups]}>"

    def make(self) -> None:
        """Make the folders and write the files. Raises OSError that names the one at fault, and leaves nothing then."""
        try:
            for folder, files in self._groups:
                with suppress(FileNotFoundError):
                    os.rmdir(folder)  # noqa: PTH106 - pathlib is a tenth of the keeper's start; a killed keeper left it, and its counters
                os.mkdir(folder)  # noqa: PTH102 - as above
                for name, text, required in files:
                    _write(f"{folder}/{name}", text, required=required)
        except OSError:
            self.remove()
            raise

    def kill(self) -> None:
        """SIGKILL all that is in them."""
        for folder, _ in self._groups:
            try:
                _write(f"{folder}/cgroup.kill", "1", required=True)
            except OSError:  # version 1, or a kernel before 5.14
                kill_trees(map(int, _read(f"{folder}/cgroup.procs").split()))

    def remove(self) -> bool:
        """Remove the folders; False while something lives in one."""
        done = True
        for folder, _ in self._groups:
            try:
                os.rmdir(folder)  # noqa: PTH106 - as above
            except FileNotFoundError:
                pass
            except OSError:
                done = False
        return done

    def oom(self) -> str:
        """Say why the kernel's OOM killer struck in here: at the `limit`, for the `machine`, or "" when it did not."""
        for folder, _ in self._groups:
            counts = _counters(f"{folder}/memory.events") or _counters(f"{folder}/memory.oom_control")
            if counts.get("oom_kill"):
                return "limit" if counts.get("oom") or _was_full(folder) else "machine"
        return ""


def _counters(path: str) -> dict[str, int]:
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _was_full(folder: str) -> bool:
    """Whether a group of version 1 has ever been at its limit; its failure counters are zero on recent kernels."""
    # The kernel charges in batches, so the last one may end a little below the limit.
    return 64 * _number(f"{folder}/memory.max_usage_in_bytes") > 63 * _number(f"{folder}/memory.limit_in_bytes")


def _number(path: str) -> int:
    return int(_read(path) or 0)


def _read(path: str) -> str:
    """Return what a small file holds, "" when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _write(path: str, text: str, *, required: bool) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        if required:
            raise
        return
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(descriptor)
