"""Configuration: TOML files, decorators, variables and flags in layers -> specs, with the place of every value.

`read` takes what is known before user code is looked at; `resolve` adds the graph that the discovery child reported.
`svcd.config.explain.explain` says where each value comes from, and is not imported before someone asks.
"""

from __future__ import annotations

from svcd.config.load import Documents, Sources, read
from svcd.config.problems import ConfigError, Problem
from svcd.config.resolve import check_box, placed, resolve

__all__ = ["ConfigError", "Documents", "Problem", "Sources", "check_box", "placed", "read", "resolve"]
