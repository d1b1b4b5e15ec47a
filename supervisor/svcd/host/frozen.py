"""The packed program (`make binary`, PyInstaller's one file): what it has to do because it is one.

Its loader unpacks the program into a folder under /tmp, tells so in the environment, and stays as the parent of the
program proper. Law: nothing but our own parts sees any of that.

- The loader's variables are taken out of os.environ, for parts to be given them (`part_environment`): a part uses the
  unpacked folder, a `svcd up -d` that outlives this command unpacks its own.
- The folder is locked, so that systemd-tmpfiles, which clears /tmp of what is old, leaves a long-lived daemon its files
  (tmpfiles.d(5): a directory under a BSD lock is skipped).
- The loader hands on the signals it gets. Ctrl-C, which a terminal sends to a whole process group, must not come twice.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TYPE_CHECKING

from svcd.host.processes import set_pdeathsig

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

IS_FROZEN = bool(getattr(sys, "frozen", False))
_LIBRARIES = "LD_LIBRARY_PATH"
_LOADER: dict[str, str] = {}
"""The loader's variables, once they are taken out of the environment."""


def begin(*, is_part: bool, is_daemon: bool) -> None:
    """Make the packed program a process like that of an installed svcd. To be called first of all."""
    _LOADER.update(shed(os.environ))
    folder = os.open(unpacked(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(folder, fcntl.LOCK_SH)  # held by the open descriptor, as long as this process lives
    if is_part:
        return  # its parent is no loader
    set_pdeathsig()  # `kill -9` of the pid that a user sees, the loader's, is meant for this process
    if is_daemon:
        os.setpgid(0, 0)


def unpacked() -> str:
    """The folder into which the loader unpacked the program."""
    return str(sys._MEIPASS)  # type: ignore[attr-defined]  # noqa: SLF001 - PyInstaller's documented name for it


def shed(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Take the loader's variables out of an environment and return them; the user's library path is put back."""
    taken = {name: environ.pop(name) for name in list(environ) if name.startswith(("_PYI_", "_MEIPASS"))}
    before = environ.pop(f"{_LIBRARIES}_ORIG", None)
    environ.pop(_LIBRARIES, None)
    if before is not None:
        environ[_LIBRARIES] = before
    return taken


def loader_environment() -> Mapping[str, str]:
    """What a part needs in its environment in order to use this program's unpacked folder."""
    return dict(_LOADER)
