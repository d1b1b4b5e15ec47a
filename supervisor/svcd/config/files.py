"""Reads TOML files: bytes from disk, text, tables; each way it can go wrong as a problem with its next step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import tomli

from svcd.config.origins import TomlFile
from svcd.config.problems import Problem
from svcd.values.secrets import looks_secret

if TYPE_CHECKING:
    from pathlib import Path

_PLACE = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"


def read_file(path: Path, problems: list[Problem]) -> tuple[TomlFile, dict[str, Any]] | None:
    """Return a file and its tables; None when that can't be, with the reason added to `problems`."""
    text = _text(path, problems)
    if text is None:
        return None
    try:
        tree = tomli.loads(text)
    except ValueError as error:  # tomli's own is one; Python's for an integer of thousands of digits is another
        problems.append(_broken(path, text, str(error)))
        return None
    except RecursionError:
        problems.append(Problem(file=str(path), message="nested too deep"))
        return None
    return TomlFile(str(path), path.absolute().parent, text), tree


def _text(path: Path, problems: list[Problem]) -> str | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        message = "no such file; `-f FILE` names the app's TOML file"
    except IsADirectoryError:
        inside = path / "svcd.toml"
        message = f"is a folder; name the file in it: `-f {inside}`"
    except OSError as error:
        message = f"can't be read: {error.strerror}"
    else:
        try:
            return data.decode("utf-8-sig")  # editors of another system put a byte order mark
        except UnicodeDecodeError as error:
            before = data[: error.start]
            line = before.count(b"\n") + 1
            column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
            problem = Problem(file=str(path), line=line, column=column, message="not UTF-8; TOML files must be")
            problems.append(problem)
            return None
    problems.append(Problem(file=str(path), message=message))
    return None


_PLAINER = {
    "Cannot overwrite a value": "the key before this place has a value already",
    r"Cannot declare .* twice": "the table is declared already",
    r"Illegal character '\\n'": "the line ends in the middle of a string",
    "Invalid value": "no value; text needs quotes",
}
"""tomli's words for the slips that people make most, and ours."""


def _plainer(message: str) -> str:
    return next((ours for theirs, ours in _PLAINER.items() if re.fullmatch(theirs, message)), message)


def _broken(path: Path, text: str, error: str) -> Problem:
    """Turn tomli's message into a problem with its place; it puts that at the end of the message, in every version."""
    place = re.search(_PLACE, error)
    message = f"not TOML: {_plainer(error[: place.start()] if place else error)}"
    if place is None:
        return Problem(file=str(path), message=message)
    lines = text.split("\n")
    if place[1]:
        line, column = int(place[1]), int(place[2])
    else:
        line = text.rstrip().count("\n") + 1  # what is missing is missing behind the last line with something in it
        column, message = len(lines[line - 1].rstrip()) + 1, f"{message} (at the end of the file)"
    source = _quotable(lines, line) if line <= len(lines) else None
    return Problem(file=str(path), line=line, column=column, message=message, source=source)


def _quotable(lines: list[str], number: int) -> str:
    """Return a line of a file that can't be read; as far as can be told, what may be a secret in it is blotted out."""
    line = lines[number - 1].rstrip("\r")
    above = lines[number - 1 :: -1]
    header = next((each for each in above if each.lstrip().startswith("[")), "")
    opening = next((each for each in above if "=" in each), "")  # the line's own, or that of a text over several lines
    key, _, value = opening.partition("=")
    if "envs" in header or "envs" in opening or looks_secret(key.strip(), value):
        seen, equals, hidden = line.partition("=") if "=" in line else ("", "", line)
        return seen + equals + re.sub(r"[^\s,{}\[\]=#\"']", "•", hidden)
    return line
