"""Reads what overrules the files: variables (`SVCD__SERVICES__X__THREADS=4`), `--set services.X.threads=4`, scaling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import tomli

from svcd.config import schema
from svcd.config.layers import Layer
from svcd.config.origins import Remark
from svcd.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from svcd.config.layers import Reader
    from svcd.config.schema import Key, KeyPath, Table

PREFIX = "SVCD__"
SCALE = "svcd scale"


def environment_layer(environ: Mapping[str, str], base: Path, reader: Reader) -> Layer:
    """Return what `SVCD__...` variables say. Service names are still in the case of the variable."""
    pieces = [
        _piece("environment", _variable_path(name), environ[name], Remark(name, base, "environment"), reader)
        for name in sorted(environ)
        if name.startswith(PREFIX)
    ]
    return _joined("environment", pieces)


def set_layer(sets: tuple[str, ...], base: Path, reader: Reader) -> Layer:
    """Return what `--set KEY=VALUE` flags say; a later one wins."""
    from svcd.config.positions import split_key  # noqa: PLC0415 - a run without --set needs no scanner

    pieces = []
    for text in sets:
        found = split_key(text)
        rest = text[found[1] :].lstrip() if found else ""
        if found is None or not rest.startswith("="):
            key = re.split(r"[\s=]", text, maxsplit=1)[0]  # what follows may be a secret
            shown = key if key == text else f"{key}..."
            problem = Problem(file=f"--set {shown}", message="expected KEY=VALUE, such as services.NAME.threads=2")
            reader.problems.append(problem)
            continue
        key = text[: found[1]].strip()
        pieces.append(_piece("--set", found[0], rest[1:].strip(), Remark(f"--set {key}", base, "--set"), reader))
    return _joined("--set", pieces)


def scale_layer(scaled: Mapping[str, int], base: Path, reader: Reader) -> Layer:
    """Return what `svcd scale` set, by service: so many replicas, no fewer and no more."""
    pieces = []
    for service, count in scaled.items():
        scaling = {"min_replicas": count, "max_replicas": count}
        source = Remark(f"svcd scale {service}={count}", base, SCALE)
        pieces.append(reader.read(SCALE, {"services": {service: {"scaling": scaling}}}, source))
    return _joined(SCALE, pieces)


def _joined(name: str, pieces: list[Layer]) -> Layer:
    joined = Layer(name)
    for piece in pieces:
        joined.entries.update(piece.entries)
        joined.names.update(piece.names)
    return joined


def _piece(name: str, path: KeyPath, text: str, source: Remark, reader: Reader) -> Layer:
    if path and path[0] == "profiles":
        message = "a profile is chosen with `--profile`; set the key itself, without `profiles.NAME`"
        reader.problems.append(source.problem(path, message))
        return reader.read(name, {}, source)
    tree: Any = _value(text, schema.find(path))
    for part in reversed(path):
        tree = {part: tree}
    return reader.read(name, tree if path else {}, source)


def _value(text: str, node: Table | Key | None) -> object:
    """Read a value as TOML where it is that, else as the text it is.

    Where the key holds text, what TOML would take for a number or a date stays text: `--set services.X.version=1.10`.
    """
    try:
        document = tomli.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = document.get("value")
    is_one_value = len(document) == 1  # a newline in the text could begin another key
    keeps_text = isinstance(node, schema.Key) and node.kind.textual and not isinstance(value, (str, dict))
    return value if is_one_value and not keeps_text else text


def _variable_path(name: str) -> KeyPath:
    """Turn `SVCD__SERVICES__MY__SVC__ENVS__A__B` into services, MY__SVC, envs, A__B.

    Keys of the schema are lower case, names that the user chose stay as they are. A chosen name may itself hold two
    underscores: it ends where a key of its table follows.
    """
    parts = name.removeprefix(PREFIX).split("__")
    path: list[str] = []
    node: Table | Key | None = schema.ROOT
    while parts:
        count = 1
        if isinstance(node, schema.Table) and node.named is not None:
            count = _length_of_name(parts, node.named)
            part = "__".join(parts[:count])
        else:
            part = parts[0].lower()
        path.append(part)
        node = node.child(part) if isinstance(node, schema.Table) else None
        parts = parts[count:]
    return tuple(path)


def _length_of_name(parts: list[str], below: Table | Key) -> int:
    """How many parts make up a chosen name; `below` is what stands under it."""
    if isinstance(below, schema.Key):
        return len(parts)
    ends = (count for count in range(1, len(parts)) if parts[count].lower() in below.children)
    return next(ends, 1)
