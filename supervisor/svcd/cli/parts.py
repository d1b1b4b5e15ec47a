"""The packed program as its own parts: keeper, GPU reader, ingress. An installed svcd runs them as modules."""

from __future__ import annotations

import sys
from importlib import import_module

from svcd.host import frozen

_PARTS = {"__keeper": "svcd.keeper", "__nvml": "svcd.host.nvml", "__worker": "svcd.worker.boot"}


def begin(words: list[str]) -> None:
    """Settle the packed program; when its arguments name a part, run that and exit."""
    first = words[0] if words else ""
    frozen.begin(is_part=first in _PARTS, is_daemon=first == "up")
    if first in _PARTS:
        sys.exit(import_module(_PARTS[first]).main(words[1:]))
