"""The script that starts every worker process: `PYTHON -P .../svcd/worker/boot.py [--ipc FOLDER]`.

It runs under the service's own interpreter, which may know neither svcd nor svcd_ipc. Both are made importable from where
this file lies, without their site-packages, so that the service sees its own environment and nothing of svcd's. Then the
boot document, read from standard input, says what this process is.

Standard library only, and nothing of ours is imported before the interpreter has been found fit.
"""

import importlib.util
import json
import os
import sys

NEEDS = {"trio": "trio", "msgpack": "msgpack", "pydantic_core": "pydantic>=2.9"}
"""Module -> what to install. pydantic_core tells pydantic 2 from 1."""
OLDEST = (3, 11)


class UnfitError(Exception):
    """This interpreter cannot run a worker; the message says what to do."""


def main(argv):  # type: (list[str]) -> int
    """Run as what the boot document says and return the exit status."""
    document = take_stdin()
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ipc = argv[argv.index("--ipc") + 1] if "--ipc" in argv else beside(here)
    told = json.loads(document)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # a log line is written when it is whole, not when 8 KiB are
    leave_own_folder()
    try:
        check_interpreter()
    except UnfitError as error:
        return refuse(told, str(error))
    if "root" in told:
        sys.path.insert(0, told["root"])
    register("svcd", here)
    register("svcd_ipc", ipc)

    from svcd.values.boot import load

    boot = load(document)
    if boot.role == "discover":
        from svcd.app.discover import main as run
    elif boot.role == "replica":
        from svcd.worker.replica import main as run
    else:
        from svcd.ingress.main import main as run
    return run(boot)


def take_stdin():  # type: () -> bytes
    """Read the boot document and leave /dev/null in its place: what the service starts must not read from us."""
    document = sys.stdin.buffer.read()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return document


def beside(here):  # type: (str) -> str
    """Return the folder of svcd_ipc: beside svcd once installed, under ipc/ in a checkout."""
    root = os.path.dirname(here)
    installed = os.path.join(root, "svcd_ipc")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(root), "ipc", "svcd_ipc")


def leave_own_folder():  # type: () -> None
    """Take this script's folder off sys.path, where it is without -P: its module names are no one's business."""
    own = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == own:
        del sys.path[0]


def check_interpreter():  # type: () -> None
    """Raise UnfitError naming what is missing. Nothing is imported for it."""
    if sys.version_info < OLDEST:
        raise UnfitError(
            "%s is Python %d.%d; svcd needs %d.%d or later" % ((sys.executable,) + sys.version_info[:2] + OLDEST)
        )
    missing = [wanted for module, wanted in NEEDS.items() if importlib.util.find_spec(module) is None]
    if missing:
        quoted = " ".join("'%s'" % wanted if ">" in wanted else wanted for wanted in missing)
        raise UnfitError(
            "%s lacks %s; run: %s -m pip install %s" % (sys.executable, ", ".join(missing), sys.executable, quoted)
        )


def register(name, folder):  # type: (str, str) -> None
    """Make a package importable from its folder, whatever sys.path says."""
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def refuse(told, message):  # type: (dict, str) -> int
    """Say why this interpreter is unfit: in the report where one is wanted, and in the log."""
    if told.get("role") == "discover":
        error = {"kind": "environment", "message": message, "traceback": None}
        with open(told["report"] + ".part", "w") as file:
            json.dump({"entry": None, "services": {}, "unresolved": {}, "error": error}, file)
        os.replace(told["report"] + ".part", told["report"])
    sys.stderr.write("svcd: %s\n" % message)
    return 1


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.exit(status)
