"""What of an app outlives its processes: control groups, and the files of its runtime directory.

A daemon that ends removes them. When it is killed, guard and keeper do, each when it has ended everything else; when
those are killed, the daemon does; so whoever ends last. It holds the app's lock meanwhile: what another daemon has
made, or may still take over, is left alone.

Law: stdlib only, and nothing is imported before the end, for the sake of the keeper's start.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

GROUPS_LIMIT = 1.0
"""Seconds in which the kernel lets go of a control group whose last process has been killed."""
_PAUSE = 0.01


class Remains:
    """Of one app, as its keeper and its guard know them."""

    def __init__(self, runtime: str = "") -> None:
        """runtime: path of the app's runtime directory; "" where that is nobody's business here."""
        self._runtime = runtime
        self._families: set[str] = set()

    def __repr__(self) -> str:
        """Where."""
        return f"<Remains in {self._runtime or 'no folder'}, {len(self._families)} families of control groups>"

    def add(self, family: str) -> bool:
        """Take note that there are control groups of a family (see `family_of`); False when that is known."""
        is_new = family not in self._families
        self._families.add(family)
        return is_new

    def sweep(self) -> None:
        """Remove all of it, unless another daemon has the app, or may take it over."""
        if self._runtime:
            from svcd.host.sockets import RuntimeDirectory  # noqa: PLC0415 - see the law
            from svcd.values.places import Places  # noqa: PLC0415 - as above

            with suppress(OSError):  # there is nobody left who could be told
                RuntimeDirectory(Places(self._runtime, "")).sweep(self._remove_groups)

    def _remove_groups(self) -> None:
        for family in self._families:
            remove_groups(family)


def family_of(folder: str) -> str:
    """Return what all control groups of an app in one place have in common: `PARENT/svcd.APP`."""
    return folder.rsplit(".", 3)[0]


def remove_groups(family: str, limit: float = GROUPS_LIMIT) -> None:
    """Remove the control groups `FAMILY.SERVICE.REPLICA.GENERATION`; what is in use after `limit` seconds stays."""
    end = time.monotonic() + limit
    while not all([*map(_removed, _members(family))]) and time.monotonic() < end:
        time.sleep(_PAUSE)


def _members(family: str) -> list[str]:
    parent, _, prefix = family.rpartition("/")
    try:
        names = os.listdir(parent)  # noqa: PTH208 - pathlib is a tenth of the keeper's start
    except OSError:
        return []
    return [f"{parent}/{each}" for each in names if each.startswith(f"{prefix}.") and family_of(each) == prefix]


def _removed(folder: str) -> bool:
    try:
        os.rmdir(folder)  # noqa: PTH106 - as above
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
