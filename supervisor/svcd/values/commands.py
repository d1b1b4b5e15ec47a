"""Command services: programs that svcd supervises as it does services that are classes.

A program is told where to take connections by its arguments, in which `{port}`, `{socket}`, `{replica}` and `{python}`
stand for what it was given, and by the variables `PORT` and `SOCKET`. Times are in seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOST = "127.0.0.1"
"""Where a program is expected to listen on its port."""
PLACEHOLDERS = ("port", "socket", "replica", "python")
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")


class Sign(StrEnum):
    """By what a program shows that it is ready."""

    SPAWNED = "spawned"
    """It was started: nothing more is known of it."""
    HTTP = "http"
    """A GET is answered with a status of 200 to 399, as Kubernetes has it."""
    TCP = "tcp"
    """Its port, or its Unix socket, accepts a connection."""
    EXEC = "exec"
    """Another command, run beside it, exits 0."""
    NOTIFY = "notify"
    """It sends READY=1 to `NOTIFY_SOCKET`, see sd_notify(3)."""
    FD = "fd"
    """It writes a newline to a descriptor that it was given, as s6 has it."""
    EXIT = "exit"
    """It ends with status 0: a oneshot."""


class Restart(StrEnum):
    """When a program that ended is started again."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    """After all ends but status 0."""
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """By what it is found out that a program is ready, or alive; how often is said by the service's probes."""

    sign: Sign = Sign.SPAWNED
    path: str = ""
    """Of the GET."""
    argv: tuple[str, ...] = ()
    """The command to ask with."""
    fd: int = 0
    """The descriptor on which the newline comes."""
    asks: str = "ready"
    """What the command is asked for, for the names of its processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is particular to a service that is a program."""

    argv: tuple[str, ...]
    is_oneshot: bool = False
    """It is to do something and to end, before others start."""
    port: int = 0
    """0 chooses a free one for each replica."""
    url: str = ""
    """What those that depend on it are told, with placeholders; "" when it takes no connections."""
    ready: Evidence = field(default_factory=Evidence)
    alive: Evidence | None = None
    """None where its life is not looked at beyond its process being there."""
    restart: Restart = Restart.ALWAYS
    stop_signal: str = "SIGTERM"

    @property
    def on_socket(self) -> bool:
        """Whether it takes connections on a Unix socket, and not on a port."""
        return takes_socket(self.argv)

    @property
    def why_alone(self) -> str:
        """Why there can be one replica only, in words that follow its name; "" when there may be more."""
        if self.is_oneshot:
            return "is a oneshot, which runs once"
        return f"has the port {self.port}, which two replicas cannot share" if self.port else ""

    def is_done(self, code: int) -> bool:
        """Whether there is nothing left to do after an exit with this status."""
        return code == 0 and self.restart is not Restart.ALWAYS


def takes_socket(argv: Iterable[str]) -> bool:
    """Whether a command line is told of its Unix socket, and of no port."""
    named = {word for argument in argv for word in _PLACEHOLDER.findall(argument)}
    return "socket" in named and "port" not in named


def takes_connections(argv: Iterable[str]) -> bool:
    """Whether a command line is told where to take connections."""
    return any(word in {"port", "socket"} for argument in argv for word in _PLACEHOLDER.findall(argument))


def fill(text: str, words: Mapping[str, str]) -> str:
    """Put values in the place of placeholders; all other braces stay as they are."""
    return _PLACEHOLDER.sub(lambda found: words[found[1]], text)


def strange_words(text: str) -> list[str]:
    """Words in single braces that are no placeholders: `prot` of `--port={prot}`."""
    return [word for word in re.findall(r"(?<![{$])\{([a-z]+)\}(?!\})", text) if word not in PLACEHOLDERS]
