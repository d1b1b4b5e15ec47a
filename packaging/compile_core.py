"""Compile what never waits of svcd_ipc and svcd.worker with mypyc: `make native`, and wheels built with SVCD_NATIVE=1.

    python packaging/compile_core.py [FOLDER [LEVEL]]    writes extension modules and stamps

Each package has its own below FOLDER/PACKAGE, unless one is given in its `compiled` folder beside the source. LEVEL is
how hard the compiler tries to make fast code, 0 to 3: 2 unless given; the same code with 0 is made in half the time.

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

ROOT = Path(__file__).resolve().parents[1]
IPC, SUPERVISOR = ROOT / "ipc", ROOT / "supervisor"

MODULES = {
    "svcd_ipc": (
        *("frames", "window", "timing", "messages", "codec", "inputs", "lending", "writer", "connection"),
        *(
            "giveway",
            "loopstate",
            "kernelwait",
            "outbox",
            "pending",
            "caller",
            "callee",
            "receiving",
            "reader",
            "deputy",
        ),
        *("scopes", "buffers"),
    ),
    "svcd.worker": (
        *("iterators", "asking", "choice", "departures", "replica_end"),
        *("lobby", "pulse", "serve"),
    ),
}
"""By package. No module with `async` is among them: mypyc 2.4 loses track of the exception that is handled while a
coroutine waits, and raises it again at the next await. What waits has modules of its own: see docs/internals.md."""


def folder_of(package: str) -> Path:
    """Return where the source of a package lies."""
    return (IPC if package == "svcd_ipc" else SUPERVISOR).joinpath(*package.split("."))


def compile_all(folder: Path | None, level: str = "2") -> None:
    """Compile each package. Ends the process where mypy or the compiler refuses."""
    for package in MODULES:
        compile_package(package, folder_of(package) / "compiled" if folder is None else folder / package, level)


def compile_package(package: str, folder: Path, level: str) -> None:
    """Fill a folder with the extension modules of a package and their stamp."""
    folder, source = folder.resolve(), folder_of(package)
    core = run_path(str(IPC / "svcd_ipc" / "core.py"))  # by its path: a wheel is built where svcd_ipc is not installed
    stamp, suffix = core["STAMP"], core["SUFFIX"]
    os.environ["MYPYPATH"] = str(IPC)
    os.chdir(source.parents[package.count(".")])  # mypyc names modules by where they lie below the working directory
    files = [str(Path(*package.split("."), f"{name}.py")) for name in MODULES[package]]
    # First: what is edited meanwhile does not fit the stamp then.
    lines = [f"{name} {source_hash((source / f'{name}.py').read_bytes()).hex()}\n" for name in MODULES[package]]
    with tempfile.TemporaryDirectory() as scratch:
        # What others have installed is not read, which takes as long as all the rest: a wheel is built without it too.
        options = ["--config-file=", "--ignore-missing-imports", "--no-site-packages", f"--cache-dir={scratch}/cache"]
        group = f"{package}.core"
        extensions = mypycify(
            [*options, *files], opt_level=level, debug_level="0", group_name=group, target_dir=scratch
        )
        command = Distribution({"name": package, "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        command.run()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / stamp).unlink(missing_ok=True)  # first: a build that is cut off must not look whole
        for made in Path(scratch, *package.split(".")).glob(f"*{suffix}"):
            shutil.copy2(made, folder)
    (folder / stamp).write_text("".join(lines))


if __name__ == "__main__":
    compile_all(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None, *sys.argv[2:])
