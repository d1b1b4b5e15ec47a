"""Wheels with the compiled core: `SVCD_NATIVE=1 pip wheel .`. A wheel is pure Python otherwise.

An editable install stays as it is: what `make native` makes is found beside the source.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCore(BuildHookInterface):
    """Compiles before a wheel is put together, where SVCD_NATIVE says so."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling."""
        return ["mypy[mypyc]>=2.4"] if os.environ.get("SVCD_NATIVE") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the extension modules into the wheel, and name it for the interpreter and machine that can load them."""
        if version == "editable" or not os.environ.get("SVCD_NATIVE"):
            return
        made = Path(self.directory) / "compiled"
        subprocess.run([sys.executable, Path(self.root) / "packaging" / "compile_core.py", made], check=True)
        build_data |= {"pure_python": False, "infer_tag": True}
        build_data["force_include"] |= {
            str(made / "svcd_ipc"): "svcd_ipc/compiled",
            str(made / "svcd.worker"): "svcd/worker/compiled",
        }
