"""Writes explained values for people (TOML, one line for each layer) and for programs (trees for JSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli

from svcd.config.explain import table_of
from svcd.config.origins import dotted
from svcd.config.positions import split_key
from svcd.config.problems import nearest
from svcd.values.secrets import NOT_SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from svcd.config.explain import Explained, Said
    from svcd.config.schema import KeyPath


def select(shown: Sequence[Explained], keys: Iterable[str]) -> tuple[Explained, ...]:
    """Return what stands at or below the keys. Raises ValueError for one at which there is nothing."""
    wanted = [_path(key, shown) for key in keys]
    return tuple(each for each in shown if any(each.path[: len(path)] == path for path in wanted))


def _path(key: str, shown: Sequence[Explained]) -> KeyPath:
    found = split_key(key.strip())
    path = found[0] if found and found[1] == len(key.strip()) else ()
    known = {each.path[:length] for each in shown for length in range(1, len(each.path) + 1)}
    if path in known:
        return path
    raise ValueError(f"{key}: no layer says anything of it; {_hint(key, path, known)}")


def _hint(key: str, path: KeyPath, known: set[KeyPath]) -> str:
    """Say what was meant or, where nothing is near, what there is at the place up to which the key is right."""
    if meant := nearest(key, [dotted(each) for each in known]):
        return f"did you mean {meant}?"
    right = next(path[:length] for length in range(len(path), -1, -1) if not path[:length] or path[:length] in known)
    below = sorted({each[len(right)] for each in known if len(each) > len(right) and each[: len(right)] == right})
    return f"{f'below {dotted(right)}' if right else 'there'} is {', '.join(below)}; svcd config shows all there is"


def as_toml(shown: Sequence[Explained]) -> Iterator[str]:
    """Write what is in force as a TOML file that says the same, each value with its place; defaults have none.

    A secret is a comment, so that the text never holds a value that is not the real one.
    """
    header: KeyPath = ()
    rows = [(each, _assignment(each)) for each in shown]
    width = min(60, max((len(text) for _, text in rows), default=0))
    for each, text in rows:
        table = table_of(each.path)
        if table != header:
            yield from ([""] if header else [])
            yield f"[{dotted(table)}]"
            header = table
        yield f"{text:<{width}}  # {each.winner.where}" if each.winner.layer != "default" else text


def _assignment(each: Explained) -> str:
    key = dotted(each.path[len(table_of(each.path)) :])
    return f"# {key} = {NOT_SHOWN}" if each.is_secret else f"{key} = {each.winner.value}"


def as_lines(shown: Sequence[Explained]) -> Iterator[str]:
    """Write each value in force with its place, and below it what it overrules, highest first."""
    rows: list[tuple[str, Said]] = []
    for each in shown:
        first, *rest = reversed(each.layers)
        rows.append((f"{each.key} = {first.value}", first))
        rows += [(f"    over {said.value}", said) for said in rest]
    width = min(72, max((len(text) for text, _ in rows), default=0))
    for text, said in rows:
        yield f"{text:<{width}}  {_place(said)}"


def _place(said: Said) -> str:
    """Name the place, and the layer where the place does not tell it."""
    tells = said.layer in {"default", "decorator", "environment", "file", "env_file"} or said.where.startswith(
        said.layer
    )
    return said.where if tells else f"{said.where} ({said.layer})"


def as_tree(shown: Iterable[Explained]) -> dict[str, Any]:
    """Return the values in force as nested tables, in the forms of TOML."""
    tree: dict[str, Any] = {}
    for each in shown:
        table = tree
        for part in each.path[:-1]:
            table = table.setdefault(part, {})
        table[each.path[-1]] = plain(each.winner.value)
    return tree


def explained(shown: Iterable[Explained]) -> list[dict[str, Any]]:
    """Return each key with its value, layer and place, and with what each layer says, lowest first."""
    return [{"key": each.key, **_said(each.winner), "layers": [_said(said) for said in each.layers]} for each in shown]


def _said(said: Said) -> dict[str, Any]:
    return {"value": plain(said.value), "layer": said.layer, "where": said.where}


def plain(value: str) -> Any:
    """Read a value back from TOML; what stands for a secret stays as it is."""
    return value if value == NOT_SHOWN else tomli.loads(f"value = {value}")["value"]
