"""A real systemd for a test, booted by the script `sandbox` beside this file; it ends with the test, and all it ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

from svcd.host.processes import children, set_pdeathsig

if TYPE_CHECKING:
    from collections.abc import Callable

SANDBOX = Path(__file__).with_name("sandbox")
REPOSITORY = SANDBOX.parent.parent.parent
COVERED = ("/tmp", "/run", "/var", "/dev")
TARGETS = ("sandbox", "sysinit", "basic", "shutdown", "multi-user", "network-online")
"""What units refer to, as targets that hold nothing."""
PATIENCE = 60.0
REMOVE_GROUP = """
mount --make-rprivate /
umount --lazy --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
find "/sys/fs/cgroup/$0" -depth -type d -exec rmdir {} +
"""


class Systemd:
    """As a context: a running systemd that knows the units which are installed into it, and no others."""

    def __init__(self, folder: Path) -> None:
        """folder: is seen inside at the same path, as is the checkout; its subfolder `units` has the units."""
        self._units = folder / "units"
        self._units.mkdir()
        for target in TARGETS:
            (self._units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n")
        needed = {folder, REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
        self._keep = [path for path in sorted(needed) if path.is_relative_to(folder) or _is_covered(path)]
        self._group = f"svcd-test-{uuid.uuid4().hex[:12]}"
        self._outer: subprocess.Popen[bytes]
        self._init = 0

    def __enter__(self) -> Self:
        """Boot."""
        self._outer = subprocess.Popen(
            [SANDBOX, self._group, self._units, *(path for path in self._keep)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=set_pdeathsig,  # noqa: PLW1509 - whatever becomes of this process, the sandbox is to end
        )
        try:
            self.wait(self._has_booted, "systemd to boot")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _has_booted(self) -> bool:
        assert self._outer.poll() is None, "the sandbox ended"
        self._init = next(iter(children(self._outer.pid)), 0)
        return bool(self._init) and self.run("systemctl", "is-system-running", check=False).stdout == "running\n"

    def __exit__(self, *_: object) -> None:
        """End everything inside."""
        if self._init and self._outer.poll() is None:
            os.kill(self._init, signal.SIGKILL)  # the kernel ends a whole pid namespace with its first process
        else:
            self._outer.kill()
        self._outer.wait(PATIENCE)
        subprocess.run(["unshare", "--mount", "bash", "-c", REMOVE_GROUP, self._group], check=True, timeout=PATIENCE)

    def run(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        enter = ["nsenter", "-t", str(self._init), "-m", "-p", "-C", "-u", "-i"]
        done = subprocess.run([*enter, *words], capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, (done.args, done.returncode, done.stdout, done.stderr)
        return done

    def install(self, name: str, text: str, **overrides: str) -> None:
        """Make a unit known; overrides: settings of [Service] that a drop-in changes."""
        (self._units / name).write_text(text)
        if overrides:
            drop_in = self._units / f"{name}.d"
            drop_in.mkdir()
            lines = "".join(f"{key}={value}\n" for key, value in overrides.items())
            (drop_in / "test.conf").write_text(f"[Service]\n{lines}")
        self.run("systemctl", "daemon-reload")

    def show(self, unit: str) -> dict[str, str]:
        """The properties of a unit."""
        lines = self.run("systemctl", "show", unit).stdout.splitlines()
        return {"StatusText": ""} | dict(line.split("=", 1) for line in lines if "=" in line)

    def processes(self) -> set[str]:
        """The pids inside, as seen there, of everything but systemd and this look."""
        pids = self.run("ps", "-e", "-o", "pid=,comm=").stdout.splitlines()
        return {line.split()[0] for line in pids if line.split()[1] not in {"systemd", "ps", "(sd-pam)"}}

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what}"
            time.sleep(0.02)


def _is_covered(path: Path) -> bool:
    return any(path.is_relative_to(covered) for covered in COVERED)
