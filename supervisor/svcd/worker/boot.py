"""The script that starts every worker process: `PYTHON .../svcd/worker/boot.py [--ipc FOLDER]`.

It runs under the service's own interpreter, which may know neither svcd nor svcd_ipc. Both are made importable from
where they lie, without their site-packages, so that the service sees its own environment and nothing of svcd's. Then
the boot document, read from standard input, says what this process is.

Standard library only, and nothing of ours is imported before the interpreter has been found fit; the syntax is that of
Python 3.8, so that an older one can still say that it is too old.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NEEDS = {"trio": "trio", "msgpack": "msgpack", "pydantic": "pydantic>=2.9"}
"""Module -> what to install."""
OLDEST = (3, 11)
HERE = Path(__file__).resolve().parent


class UnfitError(Exception):
    """This interpreter cannot run a worker; the message says what to do."""


def main(argv: list[str]) -> int:
    """Run as what the boot document says and return the exit status."""
    document = take_stdin()
    told = json.loads(document)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a line is logged when it is whole
    # The log is to say where: a crash in native code, and on SIGQUIT whatever every thread does just now.
    faulthandler.enable()
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    if getattr(sys, "frozen", False):
        return run(document)  # the ingress of the packed program: it holds all of that
    if sys.path and Path(sys.path[0]).resolve() == HERE:
        del sys.path[0]  # this script's folder; there already without -P
    try:
        check_interpreter()
    except UnfitError as error:
        return refuse(told, str(error))
    if "root" in told:
        sys.path.insert(0, told["root"])
    register("svcd", HERE.parent)
    register("svcd_ipc", Path(argv[argv.index("--ipc") + 1]) if "--ipc" in argv else beside(HERE.parent))
    return run(document)


def run(document: bytes) -> int:
    """Import what the role needs, and nothing else, and run it."""
    # ruff: noqa: PLC0415  (nothing of ours can be imported earlier)
    from svcd.values.garbage import imported_for_good

    with imported_for_good():
        role = role_of(document)
    return role()


def role_of(document: bytes) -> Callable[[], int]:
    """Import what the role needs, and return what runs it."""
    from svcd.values.boot import DiscoverBoot, ReplicaBoot, load

    boot = load(document)
    if isinstance(boot, DiscoverBoot):
        from svcd.app import discover

        return partial(discover.main, boot)
    from svcd_ipc.giveway import set_spin
    from svcd_ipc.memory import set_size

    set_spin(boot.spin)
    set_size(boot.arena)
    if isinstance(boot, ReplicaBoot):
        from svcd.worker import replica

        return partial(replica.main, boot)
    from svcd.ingress import main as ingress

    return partial(ingress.main, boot)


def take_stdin() -> bytes:
    """Read the boot document and leave /dev/null in its place: what the service starts must not read from us."""
    document = sys.stdin.buffer.read()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return document


def beside(svcd: Path) -> Path:
    """Return the folder of svcd_ipc: beside svcd once installed, under ipc/ in a checkout."""
    installed = svcd.parent / "svcd_ipc"
    return installed if installed.is_dir() else svcd.parent.parent / "ipc" / "svcd_ipc"


def check_interpreter() -> None:
    """Raise UnfitError naming what is missing. Nothing is imported for it."""
    python = sys.executable
    if sys.version_info < OLDEST:
        found, oldest = ".".join(map(str, sys.version_info[:2])), ".".join(map(str, OLDEST))
        raise UnfitError(f"{python} is Python {found}; svcd needs {oldest} or later")
    missing = [wanted for module, wanted in NEEDS.items() if not is_there(module, wanted)]
    if missing:
        quoted = " ".join(f"'{wanted}'" if ">" in wanted else wanted for wanted in missing)
        raise UnfitError(f"{python} lacks {', '.join(missing)}; run: {python} -m pip install {quoted}")


def is_there(module: str, wanted: str) -> bool:
    """Whether a module is installed, and not in a version older than `wanted` says; its metadata's folder has it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return False
    oldest = wanted.partition(">=")[2]
    for folder in Path(spec.origin).parent.parent.glob(f"{module}-*.dist-info") if oldest else ():
        version = folder.name[len(module) + 1 : -len(".dist-info")]
        if [int(part) for part in version.split(".")[:2]] < [int(part) for part in oldest.split(".")]:
            return False
    return True


def register(name: str, folder: Path) -> None:
    """Make a package importable from its folder, whatever sys.path says."""
    spec = importlib.util.spec_from_file_location(
        name, str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def refuse(told: dict[str, Any], message: str) -> int:
    """Say why this interpreter is unfit: in the report where one is wanted, and in the log."""
    if told.get("role") == "discover":
        report, draft = Path(told["report"]), Path(told["report"] + ".part")
        error = {"kind": "environment", "message": message, "traceback": None}
        draft.write_text(json.dumps({"entry": None, "services": {}, "unresolved": {}, "error": error}))
        draft.replace(report)
    sys.stderr.write(f"svcd: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
