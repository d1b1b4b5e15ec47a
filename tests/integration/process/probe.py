"""The service that looks at its own process, and how a test reads what it saw."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from running import SVCD, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from running import RunningApp

SERVICE = """
    import ctypes, os, resource, signal, sys
    import svcd

    def descriptors():
        found = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                found[name] = os.readlink(f"/proc/self/fd/{name}")
            except OSError:  # the listing's own
                pass
        return found

    def status():
        return dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())

    def prctl(option):
        value = ctypes.c_int()
        ctypes.CDLL(None).prctl(option, ctypes.byref(value))
        return value.value

    # In the main thread, before svcd and its loop open and set anything of their own.
    AT_START = {"fds": descriptors(), "status": status(), "umask": os.umask(0), "pdeathsig": prctl(2)}
    os.umask(AT_START["umask"])

    def knock(path):
        from svcd.link.blocking import BlockingClient
        BlockingClient(path, {"service": "Probe", "replica": 0}).close()

    def attempt(what, path):
        deeds = {
            "read": lambda: open(path, "rb").read(1),
            "list": lambda: os.listdir(path),
            "write": lambda: open(path + "/made", "w"),
            "remove": lambda: os.unlink(path),
            "signal": lambda: os.kill(int(path), 0),
            "knock": lambda: knock(path),
        }
        try:
            deeds[what]()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "done"

    @svcd.service(envs={"NEIGHBOUR": "x", "NEIGHBOURS_KEY": "x"})
    class Neighbour:
        @svcd.api
        def hello(self) -> str:
            return f"hello from {os.getuid()}"

        @svcd.api
        def attempt(self, deeds: list) -> list:
            return [attempt(what, path) for what, path in deeds]

    @svcd.service
    class Probe:
        neighbour = svcd.depends(Neighbour)

        @svcd.api
        def look(self) -> dict:
            stat = open("/proc/self/stat").read().rpartition(")")[2].split()
            return {
                "at_start": AT_START,
                "pid": os.getpid(),
                "group": os.getpgrp(),
                "session": os.getsid(0),
                "tty": int(stat[4]),
                "cwd": os.getcwd(),
                "environ": dict(os.environ),
                "status": status(),
                "nice": os.getpriority(os.PRIO_PROCESS, 0),
                "scheduler": os.sched_getscheduler(0),
                "oom_score_adj": int(open("/proc/self/oom_score_adj").read()),
                "cpus": sorted(os.sched_getaffinity(0)),
                "limits": open("/proc/self/limits").read(),
                "stdin": sys.stdin.read(),
                "stdin_is": os.readlink("/proc/self/fd/0"),
                "path": sys.path,
                "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
                "groups": os.getgroups(),
                "capabilities": status()["CapEff"],
                "cmdline": open("/proc/self/cmdline").read(),
            }

        @svcd.api
        def hello(self) -> str:
            return self.neighbour.hello()

        @svcd.api
        def eat(self, mib: int) -> int:
            self.eaten = bytearray(b"x") * (mib << 20)
            return len(self.eaten)

        @svcd.api
        def attempt(self, deeds: list) -> list:
            return [attempt(what, path) for what, path in deeds]

        @svcd.api
        def threads(self) -> list:
            import numpy, threadpoolctl
            numpy.ones((300, 300)) @ numpy.ones((300, 300))
            return [[pool["internal_api"], pool["num_threads"]] for pool in threadpoolctl.threadpool_info()]
"""


def start(app: RunningApp, *wrapper: str | Path, wait: bool = True) -> RunningApp:
    """Run `svcd up` through a program that becomes the command it is given."""
    with (app.base / "stderr").open("wb") as stderr:
        app.daemon = subprocess.Popen(
            [*wrapper, *SVCD, "up", *app.options],
            env=app.env,
            cwd=app.base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    if wait:
        wait_until(lambda: "ready after" in app.stderr or app.daemon_ended, "the app to be ready")
        assert not app.daemon_ended, app.stderr + app.log("daemon")
    return app


def call(app: RunningApp, api: str, *, service: str = "Probe", **args: Any) -> Any:
    """Call an api straight at a replica of the service; return its value. Text comes as it is."""
    said = app.svcd("call", f"{service}.{api}", json.dumps(args)).stdout
    try:
        return json.loads(said)
    except ValueError:
        return said.removesuffix("\n")


def limits(text: str) -> dict[str, tuple[str, str]]:
    """Read /proc/PID/limits: soft and hard by the kernel's name, such as `Max open files`."""
    rows = (line[:26].strip() for line in text.splitlines()[1:])
    return {name: tuple(line[26:].split()[:2]) for name, line in zip(rows, text.splitlines()[1:], strict=True)}  # type: ignore[misc]  # two words


__all__ = ["SERVICE", "call", "limits", "start"]
