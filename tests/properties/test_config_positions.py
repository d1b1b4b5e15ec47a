"""The scanner agrees with tomli on any document: the same paths, and each slice it names is that key and that value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.config.positions import scan, split_key

if TYPE_CHECKING:
    from collections.abc import Iterator

# No control characters, which TOML wants escaped, and no lone surrogates.
CHARACTERS = st.characters(exclude_categories=("Cc", "Cs"))
TEXT = st.text(CHARACTERS | st.sampled_from("[]{}=#,.\"'\\ "), max_size=8)
WORDS = st.text(st.sampled_from("abAB01-_"), min_size=1, max_size=3)
SPACE = st.sampled_from(["", " ", "\t", "  "])
GAP = st.sampled_from(["", " ", "\n", " # ] } \" ' = 1\n", "\n\n\t"])


def basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


STRINGS = st.one_of(
    TEXT.map(basic),
    TEXT.map(lambda text: f"'{text.replace(chr(39), '')}'"),
    TEXT.map(lambda text: f'"""\n{basic(text)[1:-1]}\n[x]\n"""'),
    st.sampled_from(['""', "''", '""""""', "''''''", '"""a"""', '"""a""""', '"""a"""""', "'''a''''", "'''a'''''"]),
    st.sampled_from([r'"""a\"""b"""', '"""\\\n   x"""', r'"\\"', r'"\""', "'''\n# no comment\n'''", '"# no comment"']),
)
SCALARS = STRINGS | st.sampled_from(
    [
        *("1", "+1_000", "0xDEADBEEF", "1.5", "-1e5", "inf", "true", "false"),
        *("1979-05-27", "07:32:00", "1979-05-27 07:32:00", "1979-05-27T07:32:00.5-07:00"),
    ]
)
KEYS = WORDS | TEXT.map(basic) | TEXT.map(lambda text: f"'{text.replace(chr(39), '')}'")


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    """Source of a value."""
    shape = draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth else "scalar"
    if shape == "scalar":
        return draw(SCALARS)
    if shape == "array":
        items = [f"{draw(GAP)}{draw(values(depth - 1))}{draw(GAP)}" for _ in range(draw(st.integers(0, 3)))]
        comma = "," if items and draw(st.booleans()) else ""
        return f"[{','.join(items)}{comma}{draw(GAP)}]"
    pairs = [f"{draw(SPACE)}{draw(pair(depth - 1))}{draw(SPACE)}" for _ in range(draw(st.integers(0, 3)))]
    return f"{{{','.join(pairs)}}}"


@st.composite
def dotted(draw: st.DrawFn) -> str:
    parts = draw(st.lists(KEYS, min_size=1, max_size=3))
    return f"{draw(SPACE)}.{draw(SPACE)}".join(parts)


@st.composite
def pair(draw: st.DrawFn, depth: int = 2) -> str:
    return f"{draw(dotted())}{draw(SPACE)}={draw(SPACE)}{draw(values(depth))}"


@st.composite
def statements(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["pair", "pair", "table", "array of tables"]))
    if kind == "pair":
        statement = draw(pair())
    else:
        key = draw(st.sampled_from(["a", "b", "a.b", "b.a", "a.b.c"]) | dotted())
        opening, closing = ("[", "]") if kind == "table" else ("[[", "]]")
        statement = f"{opening}{draw(SPACE)}{key}{draw(SPACE)}{closing}"
    return f"{draw(SPACE)}{statement}{draw(st.sampled_from(['', ' ', '# = [', '  # é時']))}"


def accepted(lines: list[str]) -> str:
    """Join the statements that tomli takes; one that contradicts those before it is left out."""
    text = ""
    for line in lines:
        longer = f"{text}{line}\n"
        try:
            tomli.loads(longer)
        except tomli.TOMLDecodeError:
            continue
        text = longer
    return text


DOCUMENTS = st.builds(accepted, st.lists(statements(), max_size=8))


def paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in below:
        yield (*at, name), inner
        yield from paths(inner, (*at, name))


@settings(deadline=None)  # the machine may be busy
@given(DOCUMENTS, st.booleans())
def test_agrees_with_tomli(text: str, has_windows_line_ends: bool):
    if has_windows_line_ends:
        text = text.replace("\n", "\r\n")
    expected = dict(paths(tomli.loads(text)))
    places = scan(text)
    assert places.keys() == expected.keys()
    for path, place in places.items():
        key, value = text[slice(*place.key)], text[slice(*place.value)]
        if isinstance(path[-1], str):
            assert split_key(key) == ((path[-1],), len(key))
        is_element = isinstance(path[-1], int) and not isinstance(expected[path], dict)
        if is_element or place.value != place.key:
            assert tomli.loads(f"v = {value}")["v"] == expected[path]


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=20))
def test_a_key_is_read_or_refused(text: str):
    found = split_key(text)
    if found is not None:
        parts, end = found
        tree: Any = tomli.loads(f"{text[:end]} = 1")
        for part in parts:
            tree = tree[part]
        assert tree == 1
