"""Environment variables of services: the forms in which they are written, and how their values are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from svcd.config.kinds import Kind, Wrong
from svcd.config.problems import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.config.layers import Entry
    from svcd.config.problems import Problem

RESERVED = {"CUDA_VISIBLE_DEVICES": "svcd sets it from what was placed; ask for GPUs with resources = { gpu = N }"}

# execve refuses one string of 32 pages or more (MAX_ARG_STRLEN in binfmts.h), name, `=` and the final NUL included.
_LONGEST = 32 * 4096


class FromHost:
    """`{ from_host = true }`: the variable of the same name in svcd's own environment."""


class Unset:
    """`{ unset = true }`: take the variable away, whoever below set it."""


class FromFile:
    """`{ file = "secrets/key" }`: what the file holds, less one newline at its end."""

    __match_args__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


EnvSource = str | FromHost | FromFile | Unset


class Env(Kind):
    """The value of an environment variable, or where it comes from.

    What was found is not repeated in its errors: it may be a secret.
    """

    textual = True

    def label(self) -> str:
        return "string or table"

    forms: ClassVar[tuple[str, ...]] = ("from_host", "file", "unset")
    expected: ClassVar[str] = "expected a string, { from_host = true }, { file = PATH } or { unset = true }"

    def read(self, value: object) -> EnvSource:
        if isinstance(value, str):
            if "\0" in value:
                raise Wrong("a variable can't hold a NUL character")
            return value
        if not isinstance(value, dict):
            raise Wrong(f"{self.expected}{'; write it in quotes' if isinstance(value, (int, float)) else ''}")
        return self._read_form(value)

    def _read_form(self, value: dict[str, object]) -> EnvSource:
        for name in value:
            if name not in self.forms:
                raise Wrong("unknown key", nearest(name, self.forms), inner=name)
        match value:
            case {"from_host": True, **rest} if not rest:
                return FromHost()
            case {"unset": True, **rest} if not rest:
                return Unset()
            case {"file": str(path), **rest} if not rest and path:
                return FromFile(path)
        raise Wrong(self.expected)


def effective_envs(
    entries: Mapping[str, Entry], host: Mapping[str, str], problems: list[Problem]
) -> dict[str, str | None]:
    """Return each variable's value, None for one that is to be taken away; what can't be had goes to `problems`."""
    found: dict[str, str | None] = {}
    for name, entry in entries.items():
        try:
            _check_name(name)
            found[name] = value = _value(name, entry, host)
            if value is not None and len(os.fsencode(name)) + len(os.fsencode(value)) + 2 > _LONGEST:
                raise ValueError(f"longer than the {_LONGEST} bytes that Linux lets one variable have")
        except ValueError as error:
            problems.append(entry.problem(str(error)))
    return found


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise ValueError(RESERVED[name])
    if not name or "=" in name or "\0" in name:
        raise ValueError("no name for a variable: it can't be empty nor hold an equals sign or NUL")


def _value(name: str, entry: Entry, host: Mapping[str, str]) -> str | None:
    match entry.value:
        case Unset():
            return None
        case FromHost():
            if name not in host:
                raise ValueError("not set in svcd's own environment; export it, or take from_host away")
            return host[name]
        case FromFile(path):
            return _file_text(entry, path)
        case literal:
            return str(literal)


def _file_text(entry: Entry, said: str) -> str:
    path = entry.source.base / Path(said).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)  # more than that can't be used, and the file may be a device
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    if "\0" in text:
        raise ValueError(f"{path} holds a NUL character, which a variable can't")
    return text.removesuffix("\n").removesuffix("\r")
