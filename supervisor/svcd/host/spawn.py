"""Fork and exec of one child, as the keeper does it: a process group and descriptors of its own, nothing inherited.

Our own fork rather than subprocess.Popen, for two reasons: the listening sockets have to become descriptors 3, 4,
..., where Popen keeps its error pipe; and the parent must not block until the exec, which a dead network file system
can hold up for ever.

Law: single-threaded callers only. PDEATHSIG hangs on the thread that forked, and code runs between fork and exec.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import suppress
from typing import NamedTuple

from svcd.host.processes import set_pdeathsig
from svcd.host.settings import SettingError, Settings, apply, become

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENTER, _EXECUTE, _PREPARE, _SET = "enter", "execute", "prepare", "set"
"""Stages of a child up to its exec."""


class SpawnedChild(NamedTuple):
    """A child between fork and exec."""

    pid: int
    output: int
    """Read end of the pipe that is its stdout and stderr; non-blocking."""
    report: int
    """Read end of a pipe that ends when the exec succeeded, or says why it failed (see `read_report`)."""
    notify: int | None = None
    """Read end of the pipe on which it says that it is ready, where it was given one; non-blocking."""


class SpawnFailure(NamedTuple):
    """Why there is no process."""

    errno: int
    message: str


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    stdin: bytes,
    descriptors: Sequence[int] = (),
    notify_fd: int = 0,
    settings: Settings = Settings(),  # noqa: B008 - it is immutable
) -> SpawnedChild:
    """Fork a child that becomes `argv`, with `descriptors` as 3, 4, ...; raises OSError when even that fails.

    notify_fd: above those, the descriptor on which it says that it is ready; 0 for none.
    """
    opened: list[int] = []
    try:
        opened.append(document := _memory_file(stdin))
        output, output_end = os.pipe()
        opened += output, output_end
        report, report_end = os.pipe()
        opened += report, report_end
        os.set_blocking(output, False)
        os.set_blocking(report, False)
        places = dict(enumerate((document, output_end, output_end, *descriptors)))
        notify: int | None = None
        if notify_fd:
            notify, places[notify_fd] = os.pipe()
            opened += notify, places[notify_fd]
            os.set_blocking(notify, False)
        parent = os.getpid()
        # A signal sent to the child before its exec has to wait for the default action, not to run a handler of ours.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _child(parent, report_end, argv, env, cwd, places, settings)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:
        _close(opened)
        raise
    _close([document, output_end, report_end, *([places[notify_fd]] if notify_fd else [])])
    return SpawnedChild(pid, output, report, notify)


def read_report(report: int, argv: Sequence[str], cwd: str, user: Sequence[int] = ()) -> SpawnFailure | None:
    """Read and close the report of a child whose exec is over; None when it succeeded."""
    try:
        text = os.read(report, 4096).decode()
    except BlockingIOError:  # killed between fork and exec while a copy of the pipe lives: there will be no report
        text = ""
    finally:
        os.close(report)
    if not text:
        return None
    number, stage = text.split(" ", 1)
    explained = _explain(int(number), stage, argv, cwd)
    if user and int(number) == errno.EACCES:
        explained += f" (as user {user[0]}, whom every folder on the way has to let through)"
    return SpawnFailure(int(number), explained)


def _explain(number: int, stage: str, argv: Sequence[str], cwd: str) -> str:
    reason = os.strerror(number)
    if stage == _ENTER:
        return f"cannot enter the directory {cwd}: {reason}"
    if stage.startswith(_SET):
        return f"cannot {stage.removeprefix(_SET).strip()}: {reason}"
    if stage == _PREPARE or not argv:
        return f"cannot prepare a process: {reason}"
    program = argv[0]
    if number == errno.ENOENT and "/" not in program:
        return f"cannot execute {program}: not found on the PATH of its environment"
    if number == errno.ENOENT and os.access(os.path.join(cwd, program), os.F_OK):  # noqa: PTH118 - pathlib is a tenth of the keeper's start
        return f"cannot execute {program}: the file is there, but the interpreter or loader it names is not"
    return f"cannot execute {program}: {reason}"


def _child(
    parent: int,
    report: int,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    places: Mapping[int, int],
    settings: Settings,
) -> None:
    """Become the program; never returns. An exception must not unwind into the parent's frames."""
    stage = _PREPARE
    try:
        report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, max(places) + 1)
        os.setpgid(0, 0)  # no session: see `keeper_process.start_keeper`
        _place(places, report)
        apply(settings)
        become(settings.user)
        set_pdeathsig(signal.SIGKILL)  # after the change of user, with which the kernel forgets it
        if os.getppid() != parent:  # it ended before the kernel was told to kill us with it
            os._exit(1)
        stage = _ENTER
        os.chdir(cwd)
        stage = _PREPARE
        _default_signals()
        stage = _EXECUTE
        _execute(argv, env)
    except SettingError as error:
        os.write(report, f"{error.errno} {_SET} {error.what}".encode())
    except OSError as error:
        os.write(report, f"{error.errno} {stage}".encode())
    except BaseException:  # noqa: BLE001 - argv with a NUL byte, say; whatever it is, this is the end of this process
        os.write(report, f"{errno.EINVAL} {stage}".encode())
    finally:
        os._exit(127)


def _place(places: Mapping[int, int], report: int) -> None:
    """Make each descriptor the one that it is to be (`{target: now}`); close all others but `report`."""
    # First out of the way of the numbers that they are to get.
    beyond = max(places) + 1
    high = {target: fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, beyond) for target, number in places.items()}
    for target, number in high.items():
        os.dup2(number, target, inheritable=True)
    with os.scandir("/proc/self/fd") as entries:
        others = [int(entry.name) for entry in entries]
    for number in others:
        if number not in places and number != report:
            with suppress(OSError):  # the listing's own descriptor is closed already
                os.close(number)


def _default_signals() -> None:
    """Undo what this process, or whoever started it (nohup, a shell's background), ignores or blocks."""
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _execute(argv: Sequence[str], env: Mapping[str, str]) -> None:
    if not argv:
        raise OSError(errno.EINVAL, "an empty command")
    os.execvpe(argv[0], list(argv), env)  # noqa: S606 - no shell is wanted


def _memory_file(content: bytes) -> int:
    """Return a descriptor that reads as `content`."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _close(descriptors: Sequence[int]) -> None:
    for number in descriptors:
        os.close(number)
