"""The runtime and log directories of an app: made with the right mode, held by one daemon, left clean.

Law: nothing is written into a directory that another user could have prepared.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from svcd.host.processes import is_ending
from svcd.values.pulse import beside

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from svcd.values.places import Places

SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path: sun_path has 108, and one is for the NUL (unix(7))."""
_MOST_SOCKETS = 99_999
SWEEP_LIMIT = 5.0
"""Seconds for which somebody may hold the lock to clean up after a daemon that was killed, see `sweep`."""
_PAUSE = 0.005


class RuntimeDirectoryError(Exception):
    """The runtime directory cannot be used; the message says why and what to do."""


class AlreadyRunningError(RuntimeDirectoryError):
    """Another daemon holds the app, or what goes by its name."""

    def __init__(self, path: str, pid: int | None, elsewhere: str = "") -> None:
        """elsewhere: the folder of the app that runs, where that is another one."""
        who = f"pid {pid}" if pid else "pid unknown"
        text = f"this app is running already ({who}, {path}); `svcd down` stops it"
        super().__init__(namesake(elsewhere, who) if elsewhere else text)
        self.pid = pid


def namesake(folder: str, who: str) -> str:
    """Say that another app goes by the same name."""
    return f"an app of the same name is running in {folder} ({who}); give one of them a `name` under [app]"


class RuntimeDirectory:
    """The directories of one app, as a context: locked and made on entry, cleaned and let go on exit."""

    def __init__(self, places: Places, folder: str = "") -> None:
        """folder: the app's, for who takes another app of the same name for this one."""
        self.places = places
        self._folder = folder
        self.is_left = False
        """Whether what runs in it goes on without this process, and so has to keep what it needs there."""
        self._lock: int | None = None

    def __repr__(self) -> str:
        """Where, and whether it is ours."""
        return f"<RuntimeDirectory {self.places.runtime}, {'held' if self._lock is not None else 'not held'}>"

    def __enter__(self) -> Self:
        """Take it. Raises AlreadyRunningError, or RuntimeDirectoryError for a directory that cannot be used."""
        self._check_lengths()
        _make_log_directory(Path(self.places.logs))
        self._lock = self._take_lock()
        try:
            self.is_left = is_answering(self.places.keeper)
            self._clean()
            Path(self.places.data_sockets).mkdir(mode=0o700, exist_ok=True)
            Path(self.places.pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what is in it and let it go."""
        self._clean()
        self._let_go()

    def sweep(self, more: Callable[[], None]) -> None:
        """Remove what a daemon left that was killed, and do `more`; for who has not entered.

        Nothing is done where another daemon has the app, or may take it over. One that has just been killed is waited
        for: until the kernel is through with it, it holds the lock. Raises OSError.
        """
        try:
            descriptor = os.open(self.places.lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # it ended in order
            return
        try:
            if not _lock_after_the_dead(descriptor):
                return
            if _is_at(descriptor, self.places.lock) and not is_answering(self.places.keeper):
                more()
                self._clean()
                _remove_lock(self.places)
        finally:
            os.close(descriptor)

    def _check_lengths(self) -> None:
        longest = max(
            (self.places.control, self.places.link, self.places.data_socket(_MOST_SOCKETS)),
            key=lambda path: len(os.fsencode(path)),
        )
        if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT:
            raise RuntimeDirectoryError(
                f"{longest}: {len(os.fsencode(longest))} bytes, and a socket's path has at most {SOCKET_PATH_LIMIT};"
                " set SVCD_RUNTIME_DIR to a shorter directory"
            )

    def _take_lock(self) -> int:
        end = time.monotonic() + SWEEP_LIMIT
        while True:
            _make_private(Path(self.places.runtime))
            try:
                descriptor = os.open(self.places.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # its last holder removed the directory just now
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(descriptor, self.places.lock):
                    os.ftruncate(descriptor, os.pwrite(descriptor, self._who(), 0))
                    return descriptor
            except BlockingIOError:
                pid, is_held = _read_pid(descriptor), not _shares(descriptor)
                os.close(descriptor)
                if is_held and (pid is None or _is_alive(pid) or time.monotonic() > end):
                    elsewhere = folder_elsewhere(self.places, self._folder) if self._folder else ""
                    raise AlreadyRunningError(self.places.runtime, pid, elsewhere) from None
                time.sleep(_PAUSE)
                continue
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last holder removed the file after we had opened it

    def _who(self) -> bytes:
        """What the lock says of its holder: a line for the pid, and one for the folder."""
        return f"{os.getpid()}\n".encode() + os.fsencode(self._folder) + b"\n"

    def _clean(self) -> None:
        """Remove what a daemon leaves, ours or a killed one's; the lock stays until it is let go."""
        places = self.places
        if self.is_left:
            for path in (places.control, places.link, places.pid_file):
                Path(path).unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(places.data_sockets)):
                _remove(entry)
            Path(places.data_sockets).rmdir()
        for path in (places.control, places.link, places.http, places.keeper, places.pid_file):
            Path(path).unlink(missing_ok=True)

    def _let_go(self) -> None:
        if self._lock is None:
            return
        _remove_lock(self.places)
        os.close(self._lock)
        self._lock = None


def _remove_lock(places: Places) -> None:
    """Remove the lock, which is held, and the directory with it."""
    # Under the lock, so that the next holder either sees the file gone or never had this one.
    Path(places.lock).unlink(missing_ok=True)
    with suppress(OSError):  # not ours to remove when somebody else put something there
        Path(places.runtime).rmdir()


def is_answering(path: str) -> bool:
    """Whether somebody listens at the path of a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)  # a backlog that is full is an answer too
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError:
            return True
    return True


def open_to_users(places: Places) -> None:
    """Let processes of other users through to their sockets; what is in the directories stays hidden from them.

    Raises RuntimeDirectoryError when a folder further up keeps them out.
    """
    for parent in Path(places.runtime).parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            raise RuntimeDirectoryError(
                f"{parent} lets no other user through (mode {stat.S_IMODE(mode):04o}), so services that run as other"
                f" users could not reach their sockets in {places.runtime}; `chmod o+x {parent}`, or set"
                " SVCD_RUNTIME_DIR to another directory"
            )
    for path in (places.runtime, places.data_sockets):
        Path(path).chmod(0o711)


def make_folder(path: Path, uid: int) -> None:
    """Make a folder of another user's for one process of theirs: others may pass through it, and see nothing."""
    path.mkdir(mode=0o700)
    os.chown(path, uid, -1)
    path.chmod(0o711)


def remove_data_socket(path: str) -> None:
    """Remove a data socket, with its folder when it has one of its own; it may never have been made."""
    if path.endswith(".sock"):
        Path(path).unlink(missing_ok=True)
        Path(beside(path)).unlink(missing_ok=True)
    else:
        shutil.rmtree(Path(path).parent, ignore_errors=True)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)  # another user may be at work in it still
    else:
        Path(entry.path).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def daemon_pid(places: Places) -> int | None:
    """Return the pid of the daemon that holds the app now, None when nobody does."""
    try:
        descriptor = os.open(places.lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _shares(descriptor) else _read_pid(descriptor)
    finally:
        os.close(descriptor)


def folder_elsewhere(places: Places, folder: str | Path) -> str:
    """Return the folder of the app that runs, or ran last, where that is another than this one; else "".

    One that is not there any more is taken for this one: it was moved.
    """
    try:
        told = os.fsdecode(Path(places.lock).read_bytes().split(b"\n")[1])
        return told if told and not Path(told).samefile(folder) else ""
    except (OSError, IndexError):
        return ""


def _shares(descriptor: int) -> bool:
    """Whether a lock is held by nobody but those who look for a daemon, if by anybody."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_after_the_dead(descriptor: int) -> bool:
    """Take a lock that nobody holds, or only who looks, or who is at its end; False where somebody else has it."""
    end = time.monotonic() + SWEEP_LIMIT
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        pid = _read_pid(descriptor)
        passes = _shares(descriptor) or (pid is not None and is_ending(pid))
        if not passes or time.monotonic() > end:
            return False
        time.sleep(_PAUSE)


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).partition(b"\n")[0]
    return int(text) if text.isdigit() else None


def _is_at(descriptor: int, path: str) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    return False


def _make_private(path: Path) -> None:
    """Make a directory that is this user's alone, mode 0700, below parents that no other user owns."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in (*path.parents, path):
            owner = place.lstat().st_uid
            if owner not in {0, os.getuid()} or (place == path and owner != os.getuid()):
                raise RuntimeDirectoryError(
                    f"{place} belongs to another user (id {owner}), who could read or replace the sockets in it;"
                    " set SVCD_RUNTIME_DIR to a directory of yours"
                )
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise RuntimeDirectoryError(f"{path} is a link; set SVCD_RUNTIME_DIR to the directory itself")
        path.chmod(0o700)
    except OSError as error:
        raise RuntimeDirectoryError(_cannot_make(path, error, "SVCD_RUNTIME_DIR")) from error


def _make_log_directory(path: Path) -> None:
    """Make a directory for logs; one that is there keeps its owner and mode, which may let log shippers in."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeDirectoryError(_cannot_make(path, error, "SVCD_LOG_DIR")) from error


def _cannot_make(path: Path, error: OSError, variable: str) -> str:
    return f"cannot make the directory {path}: {error.strerror}; set {variable} to another one"
