"""Compile what never waits of svcd_ipc with mypyc: `make native`, and wheels that are built with SVCD_NATIVE=1.

    python packaging/compile_core.py [FOLDER [LEVEL]]    writes extension modules and a stamp

FOLDER is ipc/svcd_ipc/compiled unless given. LEVEL is how hard the compiler tries to make fast code, 0 to 3: 2 unless
given; the same code with 0 is made in half the time.

The source stays the one truth: what is compiled here runs interpreted elsewhere, and a folder whose stamp does not fit
the source is passed over (`svcd_ipc.core`).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.util import source_hash
from pathlib import Path
from runpy import run_path

from mypyc.build import mypycify
from setuptools import Distribution

IPC = Path(__file__).resolve().parents[1] / "ipc"
PACKAGE = IPC / "svcd_ipc"
COMPILED = PACKAGE / "compiled"

MODULES = (
    *("frames", "window", "timing", "messages", "codec", "inputs", "lending", "writer", "connection"),
    *("giveway", "blocking", "outbox", "pending", "caller", "callee", "receiving", "reader"),
)
"""No module with `async` is among them: mypyc 2.4 loses track of the exception that is handled while a coroutine waits,
and raises it again at the next await. What waits has modules of its own: see
docs/internals.md."""


def compile_core(folder: Path, level: str = "2") -> None:
    """Fill a folder with the extension modules and their stamp. Ends the process where mypy or the compiler refuses."""
    folder = folder.resolve()
    core = run_path(str(PACKAGE / "core.py"))  # by its path: a wheel is built where svcd_ipc is not installed
    stamp, suffix = core["STAMP"], core["SUFFIX"]
    os.chdir(IPC)  # mypyc names modules by where they lie below the working directory
    files = [f"svcd_ipc/{name}.py" for name in MODULES]
    # First: what is edited meanwhile does not fit the stamp then.
    lines = [f"{name} {source_hash((PACKAGE / f'{name}.py').read_bytes()).hex()}\n" for name in MODULES]
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={scratch}/cache", *files]
        extensions = mypycify(options, opt_level=level, debug_level="0", group_name="svcd_ipc.core", target_dir=scratch)
        command = Distribution({"name": "svcd_ipc", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        command.run()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / stamp).unlink(missing_ok=True)  # first: a build that is cut off must not look whole
        for made in Path(scratch, "svcd_ipc").glob(f"*{suffix}"):
            shutil.copy2(made, folder)
    (folder / stamp).write_text("".join(lines))


if __name__ == "__main__":
    compile_core(Path(sys.argv[1]) if len(sys.argv) > 1 else COMPILED, *sys.argv[2:])
