"""Reads `env_file`s, in the grammar of dotenv files, into layers of variables.

The library reads the grammar; what it can't read is refused here with its line, and never quoted: it may be a secret.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.config.envs import Dotenv
from svcd.config.layers import Entry, Layer
from svcd.config.origins import DotenvFile, TomlFile
from svcd.config.problems import Problem

if TYPE_CHECKING:
    from dotenv.parser import Binding

    from svcd.config.schema import KeyPath

_LARGEST = 4 * 1024 * 1024
"""Bytes; execve takes no more in all, so that a larger file was named by mistake."""


def env_files_layer(entry: Entry, service: KeyPath, problems: list[Problem]) -> Layer:
    """Return what the files named by an `env_file` say of a service; a later file overrules an earlier one."""
    layer = Layer("env_file")
    for said in entry.value:
        shown = str(Path(entry.source.shown).parent / said) if isinstance(entry.source, TomlFile) else said
        text = _text(entry.source.base / Path(said).expanduser(), shown, entry, problems)
        source = DotenvFile(shown, entry.source.base, {})
        for binding in _bindings(text):
            _take(binding, source, service, layer, problems)
    return layer


def _text(path: Path, shown: str, entry: Entry, problems: list[Problem]) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            problems.append(entry.problem(f"{shown} is larger than {_LARGEST} bytes; is it an env_file?"))
            return ""
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.append(entry.problem(f"{shown} holds no UTF-8 text"))
    except OSError as error:
        problems.append(entry.problem(f"{shown} can't be read: {error.strerror}"))
    return ""


def _bindings(text: str) -> list[Binding]:
    from dotenv.parser import parse_stream  # noqa: PLC0415 - only services with an env_file need it

    return [*parse_stream(io.StringIO(text, newline=""))]


def _take(binding: Binding, source: DotenvFile, service: KeyPath, layer: Layer, problems: list[Problem]) -> None:
    original = binding.original.string
    # The library counts from the empty lines that go before.
    line = binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
    if binding.error:
        problems.append(Problem(file=source.shown, line=line, message="expected NAME=value; quotes must be closed"))
    elif binding.key is not None and binding.value is None:
        name = binding.key
        message = f"no value; `{name}=` gives an empty one, envs = {{ {name} = {{ from_host = true }} }} the host's"
        problems.append(Problem(file=source.shown, line=line, message=message))
    elif binding.key is not None and binding.value is not None:
        source.lines[binding.key] = line
        path = (*service, "envs", binding.key)
        value = original.partition("=")[2].lstrip()
        layer.entries[path] = Entry(Dotenv(binding.value, is_raw=value.startswith("'")), source, path)
