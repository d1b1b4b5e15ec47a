"""Finds the values of a service's variables: from the host, from files and credentials, and in one another.

Everything is read once, before anything starts, so that all replicas of a service have the same environment and what
is missing is told at once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.config.envs import Credential, Dotenv, FromFile, FromHost, Literal, Unset, may_be_secret
from svcd.config.problems import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.config.layers import Entry
    from svcd.config.problems import Problem

RESERVED = {
    "CUDA_VISIBLE_DEVICES": "svcd sets it from what was placed; ask for GPUs with resources = { gpu = N }",
    **dict.fromkeys(("SVCD_APP", "SVCD_SERVICE", "SVCD_REPLICA"), "svcd sets it, so that a process can be told by it"),
}
"""What svcd itself sets whatever a service says, with the reason why it may not say anything."""

# execve refuses one string of 32 pages or more (MAX_ARG_STRLEN in binfmts.h), name, `=` and the final NUL included.
_LONGEST = 32 * 4096
# `$${` is how `${` itself is written. What follows `${` may be no name: then it is an error and not left as it is.
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")


@dataclass(slots=True)
class Variables:
    """The variables of one service."""

    values: dict[str, str | None] = field(default_factory=dict)
    """None for one that is to be taken away."""
    secret: set[str] = field(default_factory=set)
    """The names of those that are not to be shown."""


def variables_of(entries: Mapping[str, Entry], host: Mapping[str, str], problems: list[Problem]) -> Variables:
    """Return the variables that `entries` describe; those that can't be had go to `problems`, each once."""
    reading = _Reading(entries, host, problems)
    for name in reading.order():
        reading.read(name)
    return reading.found


class _Reading:
    """The variables of one service while they are read."""

    def __init__(self, entries: Mapping[str, Entry], host: Mapping[str, str], problems: list[Problem]) -> None:
        self.found = Variables()
        self._entries = entries
        self._host = host
        self._problems = problems
        self._references = {name: references_of(entry.value) for name, entry in entries.items()}

    def order(self) -> list[str]:
        """Return every variable after those it refers to; cycles become problems, and are then not followed."""
        graph = {name: self._entries.keys() & used for name, used in self._references.items()}
        while True:
            try:
                return [*TopologicalSorter(graph).static_order()]
            except CycleError as error:
                cycle: list[str] = error.args[1][:0:-1]  # graphlib goes from what is named to who names it
                first = min(cycle, key=[*self._entries].index)
                path = [*cycle[cycle.index(first) :], *cycle[: cycle.index(first)], first]
                self._refuse(first, f"refers to itself: {' -> '.join(path)}")
                graph = {name: set() if name in cycle else used for name, used in graph.items()}

    def read(self, name: str) -> None:
        """Find the value of a variable whose references have been read."""
        entry = self._entries[name]
        try:
            _check_name(name)
            value = self._value(name, entry)
            if value is not None and "\0" in value:
                raise ValueError("holds a NUL character, which a variable can't")
            if value is not None and len(os.fsencode(name)) + len(os.fsencode(value)) + 2 > _LONGEST:
                raise ValueError(_TOO_LONG)
        except ValueError as error:
            self._refuse(name, str(error))
            return
        except _UnreadReferenceError:
            return  # what is wrong with that one is told there
        self.found.values[name] = value
        used = self._references[name] & self.found.secret
        if value is not None and (used or may_be_secret(name, entry.value, value)):
            self.found.secret.add(name)

    def _refuse(self, name: str, message: str) -> None:
        self._problems.append(self._entries[name].problem(message))

    def _value(self, name: str, entry: Entry) -> str | None:
        match entry.value:
            case Unset():
                return None
            case FromHost():
                if name not in self._host:
                    raise ValueError("not set in svcd's own environment; export it, or take from_host away")
                return self._host[name]
            case FromFile(path):
                return _file_text(entry.source.base / Path(path).expanduser())
            case Credential(credential):
                return _file_text(self._credential(credential))
            case Dotenv(text, is_raw=True):
                return text
            case Literal(text) | Dotenv(text):
                return self._expanded(text)
        raise TypeError(entry.value)

    def _credential(self, name: str) -> Path:
        folder = self._host.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ValueError(
                "CREDENTIALS_DIRECTORY is not set: only svcd as a systemd service has credentials;"
                f" give it this one in the unit, LoadCredential={name}:PATH"
            )
        return Path(folder, name)

    def _expanded(self, text: str) -> str:
        """Put the values of other variables in the place of `${NAME}`."""
        pieces, at, length = [], 0, 0
        for reference in _REFERENCE.finditer(text):
            pieces += [text[at : reference.start()], self._meant(reference)]
            at = reference.end()
            length += len(pieces[-1]) + len(pieces[-2])
            if length > _LONGEST:  # before they are joined: what refers to what refers to what grows fast
                raise ValueError(_TOO_LONG)
        return "".join([*pieces, text[at:]])

    def _meant(self, reference: re.Match[str]) -> str:
        if reference[0] == "$${":
            return "${"
        name = reference["name"]
        if name is None:
            raise ValueError("expected ${NAME}, the name of another variable of this service; `$${` stands for `${`")
        if name not in self._entries:
            meant = nearest(name, self._entries)
            hint = f"did you mean {meant}?" if meant else f"to take the host's: {name} = {{ from_host = true }}"
            raise ValueError(f"${{{name}}} is no variable of this service; {hint}")
        if name not in self.found.values:
            raise _UnreadReferenceError
        value = self.found.values[name]
        if value is None:
            raise ValueError(f"${{{name}}} is taken away ({self._entries[name].where})")
        return value


class _UnreadReferenceError(Exception):
    """A variable refers to one that can't be had."""


_TOO_LONG = f"longer than the {_LONGEST} bytes that Linux lets one variable have"


def references_of(source: object) -> set[str]:
    """Return the names that a variable refers to."""
    match source:
        case Literal(text) | Dotenv(text, is_raw=False) if "${" in text:
            return {found["name"] for found in _REFERENCE.finditer(text) if found["name"]}
    return set()


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise ValueError(RESERVED[name])
    if not name or "=" in name or "\0" in name:
        raise ValueError("no name for a variable: it can't be empty nor hold an equals sign or NUL")


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)  # more than that can't be used, and the file may be a device
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    return text.removesuffix("\n").removesuffix("\r")
