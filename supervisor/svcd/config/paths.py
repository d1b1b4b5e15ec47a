"""Where a path that a configuration says leads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svcd.config.layers import Entry


def absolute(entry: Entry) -> str:
    """Return the absolute path of an entry; a relative one starts at the folder of the file that says it.

    Links are kept: a virtual environment is found by the path of its `python`, which is one.
    """
    said: str = entry.value
    return os.path.abspath(entry.source.base / os.path.expanduser(said))  # noqa: PTH100, PTH111 - expands in text
