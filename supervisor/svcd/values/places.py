"""Where the files of an app lie: pure rules, so that the daemon, the CLI and a test agree without asking each other."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one app's runtime, log and state directories and of the files in them."""

    runtime: str
    logs: str
    state: str = ""
    """What is to outlive the app's end, and a restart of the machine."""

    @property
    def lock(self) -> str:
        """File whose flock the daemon holds."""
        return f"{self.runtime}/lock"

    @property
    def pid_file(self) -> str:
        """File with the daemon's pid."""
        return f"{self.runtime}/daemon.pid"

    @property
    def control(self) -> str:
        """Socket at which the daemon answers the CLI."""
        return f"{self.runtime}/control.sock"

    @property
    def link(self) -> str:
        """Socket at which the daemon takes control channels."""
        return f"{self.runtime}/link.sock"

    @property
    def keeper(self) -> str:
        """Socket at which the keeper of an app that outlives its daemon waits for the next one."""
        return f"{self.runtime}/keeper.sock"

    @property
    def http(self) -> str:
        """Socket at which the ingress speaks HTTP, beside its address."""
        return f"{self.runtime}/http.sock"

    @property
    def data_sockets(self) -> str:
        """Folder of the data sockets; a short name, because a socket path has 108 bytes."""
        return f"{self.runtime}/s"

    def data_socket(self, number: int) -> str:
        """Path of the data socket of the process that the daemon counts as `number`."""
        return f"{self.data_sockets}/{number}.sock"

    def notify_socket(self, number: int) -> str:
        """Path of the socket at which the daemon hears a program; no longer than that of a data socket."""
        return f"{self.data_sockets}/{number}.note"

    def own_data_socket(self, number: int) -> str:
        """Path of the data socket of a process of another user, in a folder of that user's."""
        return f"{self.data_sockets}/{number}/s"

    @property
    def daemon_log(self) -> str:
        """The daemon's own log."""
        return f"{self.logs}/daemon.log"

    @property
    def events(self) -> str:
        """What happened, one JSON object a line; see values/events.py."""
        return f"{self.logs}/events.jsonl"

    @property
    def tasks(self) -> str:
        """The store of background tasks, unless configured."""
        return f"{self.state}/tasks.sqlite3"

    def log(self, service: str, replica: int | None = None) -> str:
        """Path of the log of a replica, or of a process that has one instance (the ingress)."""
        return f"{self.logs}/{service}.log" if replica is None else f"{self.logs}/{service}.{replica}.log"


def places(app: str, environ: Mapping[str, str], uid: int) -> Places:
    """Choose the directories of `app` for the user `uid` with the environment `environ`.

    SVCD_RUNTIME_DIR, SVCD_LOG_DIR and SVCD_STATE_DIR name the directories themselves, not their parents.
    """
    return Places(runtime=_runtime(app, environ, uid), logs=_logs(app, environ, uid), state=_state(app, environ, uid))


def _runtime(app: str, environ: Mapping[str, str], uid: int) -> str:
    if given := environ.get("SVCD_RUNTIME_DIR"):
        return posixpath.abspath(given)
    if uid == 0:
        return f"/run/svcd/{app}"
    if parent := environ.get("XDG_RUNTIME_DIR"):
        return f"{parent}/svcd/{app}"
    return f"/tmp/svcd-{uid}/{app}"  # noqa: S108 - the owner and mode of this folder are checked before it is used


def _logs(app: str, environ: Mapping[str, str], uid: int) -> str:
    if given := environ.get("SVCD_LOG_DIR"):
        return posixpath.abspath(given)
    return f"/var/log/svcd/{app}" if uid == 0 else _own_state(app, environ)


def _state(app: str, environ: Mapping[str, str], uid: int) -> str:
    if given := environ.get("SVCD_STATE_DIR"):
        return posixpath.abspath(given)
    return f"/var/lib/svcd/{app}" if uid == 0 else _own_state(app, environ)


def _own_state(app: str, environ: Mapping[str, str]) -> str:
    state = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '/')}/.local/state"
    return f"{state}/svcd/{app}"
