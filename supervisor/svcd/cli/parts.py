"""The packed program as its own parts: keeper, GPU reader, ingress. An installed svcd runs them as modules."""

from __future__ import annotations

from importlib import import_module

_PARTS = {"__keeper": "svcd.keeper", "__nvml": "svcd.host.nvml", "__worker": "svcd.worker.boot"}


def run_part(name: str, args: list[str]) -> int:
    """Run a part and return its exit code. Raises KeyError for an unknown one."""
    code: int = import_module(_PARTS[name]).main(args)
    return code
