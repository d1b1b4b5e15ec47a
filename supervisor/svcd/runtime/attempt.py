"""What is known of one process of a replica. The next process begins with nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio


@dataclass(slots=True, eq=False)
class Attempt:
    """One process, from its order on: what it said, what ails it, and how far its end has been brought."""

    failure: str | None = None
    """What the worker itself reported before it gave up, such as the error its `__init__` raised."""
    hint: str = ""
    """What its program was last found to lack for being ready."""
    ailments: dict[str, str] = field(default_factory=dict)
    """What keeps callers away from it: reasons by cause."""
    fatal: str = ""
    """Why the service itself says that it should be replaced."""
    joined: trio.Event = field(default_factory=trio.Event)
    """Set once it has a control channel."""
    ended_for: str = ""
    """Why it is ended before its time; "" when it is not."""
    is_lost: bool = False
    """Its control channel ended: a moment later it is killed."""
    is_expired: bool = False
    """It was asked where it hangs: a moment later it is killed."""
    is_terminated: bool = False
    """It was sent SIGTERM."""
    is_killed: bool = False
    """It outlived its stop limit and was sent SIGKILL."""
    was_struck: bool = False
    """It was killed or stopped by a signal that neither svcd nor a kernel in want of memory had sent."""
