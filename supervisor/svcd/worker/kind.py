"""Which worker runs: the modules as they stand here, or those that never wait compiled (`make native`).

As `svcd_ipc.core` says of its own; and pure where that is, so that one word tells of a whole process.
"""

from __future__ import annotations

import os
from typing import Final

from svcd_ipc import core

_PACKAGE: Final = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  (as in svcd_ipc.core)

PURE: Final = core.PURE or core.why_pure(_PACKAGE)
"""Why the modules run as they stand here, "" where they run compiled."""

KIND: Final = "pure" if PURE else "compiled"


def search_path() -> list[str]:
    """Return where this package's modules are looked for."""
    return core.search_path(_PACKAGE, PURE)
