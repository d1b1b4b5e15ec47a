"""The deadline of the scopes that the running task is in, as every call asks for it.

`trio.current_effective_deadline` climbs by a recursion of several function calls per scope; a replica's code is some
nine scopes deep, which made it one twentieth of a small call. The loop below climbs the same links, which trio does not
document, and so gives way to trio's own function where they are not what they were. A test compares the two.
"""

from __future__ import annotations

from math import inf
from typing import Any

import trio
from trio.lowlevel import current_task


def effective_deadline() -> float:
    """Return what `trio.current_effective_deadline` does: -inf in a cancelled scope, inf where there is no deadline."""
    try:
        status: Any = current_task()._cancel_status  # noqa: SLF001 - see above
        if status.effectively_cancelled:
            return -inf
        earliest = inf
        while status is not None:
            scope = status._scope  # noqa: SLF001 - see above
            if scope._deadline < earliest:  # noqa: SLF001, PLR1730 - see above; min() takes as long as all the rest
                earliest = scope._deadline  # noqa: SLF001 - see above
            if scope._shield:  # noqa: SLF001 - see above
                break
            status = status._parent  # noqa: SLF001 - see above
    except AttributeError:
        return trio.current_effective_deadline()
    return earliest
