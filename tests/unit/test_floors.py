"""What each kind of process loads: the contracts in pyproject.toml hold what is written, this holds what happens.

Each case imports in an interpreter of its own, and late imports stay out, as they do in the process meant.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"trio", "pydantic", "numpy", "asyncio", "hypercorn", "starlette"}
OF_THE_DAEMON = {"click", "tomli", "psutil", "pynvml", "svcd.host", "svcd.config", "svcd.runtime", "svcd.policy"}

CASES = {
    "the face": ("svcd", {"svcd.app", "svcd.worker", "svcd_ipc", "msgpack", "click", *HEAVY}),
    "declarations": ("svcd.app.declare, svcd.app.graph", {"svcd_ipc", "msgpack", *HEAVY}),
    "policy": (
        "svcd.policy.lifecycle, svcd.policy.order, svcd.policy.placement, svcd.policy.restart, svcd.policy.environment",
        {"svcd_ipc", "msgpack", "socket", "logging", *HEAVY},
    ),
    "the core of ipc": ("svcd_ipc.connection", {"svcd", "socket", "logging", *HEAVY}),
    "help": ("svcd.cli.main", {"svcd.config", "svcd_ipc", "msgpack", *HEAVY}),
    "a command that asks the daemon": ("svcd.cli.ps, svcd.link.blocking", {"svcd.daemon", "svcd.runtime", *HEAVY}),
    "the keeper": ("svcd.keeper", {"svcd.config", "svcd.runtime", "svcd_ipc.connection", *HEAVY}),
    "the daemon": ("svcd.daemon, svcd.session", {"svcd.app", "svcd.worker", "pynvml", *(HEAVY - {"trio"})}),
    "a replica": ("svcd.worker.replica", {"hypercorn", "starlette", "numpy", *OF_THE_DAEMON}),
    "the ingress": ("svcd.ingress.main", {"pydantic", "svcd.app", "numpy", *OF_THE_DAEMON}),
}


@pytest.mark.parametrize(("modules", "unwanted"), CASES.values(), ids=CASES)
def test_it_loads_no_more_than_it_needs(modules: str, unwanted: set[str]) -> None:
    program = f"import sys\nbefore = set(sys.modules)\nimport {modules}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not unwanted & set(done.stdout.split())
