"""The keys of command services: what is run, when it is ready, where it listens, when it is started again."""

from __future__ import annotations

import shlex
from typing import Any

from svcd.config.http_kinds import Flag, Texts
from svcd.config.keys import Key
from svcd.config.kinds import Choice, Kind, Text, Wrong, found, toml_text
from svcd.config.process_kinds import Between
from svcd.values.commands import Restart

NAME = "[A-Za-z][A-Za-z0-9_-]*"
"""The form of a service's name."""
STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Words(Kind):
    """A command line: the program and its arguments, each a string. No shell reads it."""

    def label(self) -> str:
        return "array of words"

    def read(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            raise Wrong(f"expected an array of words, as no shell splits them; {found(value)}", self._meant(value))
        if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
            raise Wrong(f'expected an array of words, such as ["program", "--flag"]; {found(value)}')
        if not value or not value[0]:
            raise Wrong("expected a program as the first word")
        return tuple(value)

    def write(self, value: tuple[str, ...]) -> str:
        return f"[{', '.join(map(toml_text, value))}]"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "minItems": 1}

    def _meant(self, text: str) -> str | None:
        try:
            return self.write(tuple(shlex.split(text))) if text.strip() else None
        except ValueError:  # a quote that is not closed
            return None


AFTER = Key(
    "after",
    Texts("names of services", NAME),
    "Services that have to be ready before this one starts; a oneshot has to be done.",
    in_decorator=False,
)


def _key(path: str, kind: Kind, help: str, *, default: Any = None, default_text: str = "") -> Key:  # noqa: A002 - the field's name
    return Key(path, kind, help, default=default, default_text=default_text, in_decorator=False, of="command")


COMMAND_KEYS = (
    _key(
        "command",
        Words(),
        "Makes the service a program: this command line, with `{port}`, `{socket}`, `{replica}`, `{python}` filled in."
        " See [command services](services.md#command-services).",
    ),
    _key(
        "type",
        Choice("longrun", "oneshot"),
        "A oneshot runs to its end, once, before the services that come after it start.",
        default="longrun",
    ),
    _key(
        "readiness.http",
        Text("path that begins with a slash", r"/\S*"),
        "It is ready when a GET of this path on its port is answered with a status of 200 to 399.",
    ),
    _key(
        "readiness.tcp",
        Flag(),
        "It is ready when its port, or its socket, accepts a connection.",
        default_text="true where `command` has `{port}` or `{socket}`",
    ),
    _key("readiness.exec", Words(), "It is ready when this command line, run beside it, exits 0."),
    _key("readiness.notify", Flag(), "It is ready when it sends `READY=1` to `NOTIFY_SOCKET` (sd_notify)."),
    _key("readiness.fd", Between(3, 255), "It is ready when it writes a newline to this descriptor (s6)."),
    _key(
        "liveness.http",
        Text("path that begins with a slash", r"/\S*"),
        "It is replaced when a GET of this path fails `liveness.threshold` times in a row.",
    ),
    _key(
        "liveness.exec",
        Words(),
        "It is replaced when this command line, run beside it, fails `liveness.threshold` times in a row.",
    ),
    _key(
        "port",
        Between(1, 65535),
        "The TCP port of its one replica, as `{port}` and `PORT`. Two services may not have the same.",
        default_text="a free one for each replica",
    ),
    _key(
        "url",
        Text(),
        "What a dependency on it is, with the placeholders of `command`.",
        default_text="`http://127.0.0.1:{port}`; `unix:{socket}` where `command` has that",
    ),
    _key(
        "restart",
        Choice(*Restart),
        "The ends after which it is started again. One that exits 0 and is not started again is `done`.",
        default_text='"always", "on-failure" for a oneshot',
    ),
    _key("stop_signal", Choice(*STOP_SIGNALS), "What asks it to stop.", default="SIGTERM"),
)
