"""Reads TOML files: bytes from disk, text, tables; each way it can go wrong as a problem with its next step."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import tomli

from svcd.config.origins import TomlFile, line_and_column
from svcd.config.problems import Problem
from svcd.values.secrets import looks_secret

if TYPE_CHECKING:
    from pathlib import Path

_LONG_SCALAR = re.compile(r"([0-9][0-9_]{600,})[-+.0-9A-Za-z_]*")
"""What may be too long: Python's limit on digits can be set, but not below 640."""
_PLACE = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"


def read_file(path: Path, problems: list[Problem]) -> tuple[TomlFile, dict[str, Any]] | None:
    """Return a file and its tables; None when that can't be, with the reason added to `problems`."""
    text = _text(path, problems)
    if text is None:
        return None
    try:
        tree = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        problems.append(_broken(path, text, str(error)))
        return None
    except ValueError as error:  # Python's own, for an integer of thousands of digits
        problems.append(_endless(path, text) or _broken(path, text, str(error)))
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


def _endless(path: Path, text: str) -> Problem | None:
    """Return the problem of the first integer that has more digits than Python reads: its error names no place.

    The line is not quoted: it is as long as its number.
    """
    most = sys.get_int_max_str_digits()
    for scalar in _LONG_SCALAR.finditer(text):
        digits = len(scalar[1].replace("_", ""))
        if digits > most and not _is_readable(text[: scalar.end()]):
            line, column = line_and_column(text, scalar.start())
            message = f"a number of {digits} digits; no key takes more than 19"
            return Problem(file=str(path), line=line, column=column, message=message)
    return None


def _is_readable(text: str) -> bool:
    """Whether no number in a document is too long, as far as the document goes: it may end in the middle."""
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError:  # in a string, say, where digits are no number
        return True
    except ValueError:
        return False
    return True


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
