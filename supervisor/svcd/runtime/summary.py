"""The app in one line, as `systemctl status` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcd.policy.lifecycle import State

if TYPE_CHECKING:
    from svcd.runtime.app import App

_LONGEST = 200
"""Characters of a reason; some are whole tracebacks."""
_MOST = 4
"""Replicas that are named: systemd drops a message of over 4096 bytes, and a READY=1 with it."""


def summary(app: App, url: str) -> str:
    """Say how many replicas are ready, where the app answers once it does, and what is wrong with the others."""
    replicas = [replica for replica in app.replicas() if replica.state is not State.DONE]
    ready = sum(replica.state is State.READY for replica in replicas)
    where = f"ready at {url}" if app.outcome.ready.is_set() else "starting"
    if ready == len(replicas):
        return where
    trouble = {State.PENDING, State.UNREADY, State.BACKOFF, State.FAILED}
    troubled = [replica for replica in replicas if replica.state in trouble]
    parts = [f"{where}, {ready} of {len(replicas)} replicas ready"]
    for replica in troubled[:_MOST]:
        first_line = replica.reason.partition("\n")[0][:_LONGEST]
        parts.append(f"{replica.name} {replica.state}" + (f": {first_line}" if first_line else ""))
    if len(troubled) > _MOST:
        parts.append(f"{len(troubled) - _MOST} more")
    return "; ".join(parts)
