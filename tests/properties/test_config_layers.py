"""Merging valid layers is associative, and what is in force is always what the highest layer says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.config.layers import Entry, Layer, Reader, merge
from svcd.config.origins import Remark

SERVICES = st.fixed_dictionaries(
    {},
    optional={
        "threads": st.integers(1, 9),
        "traffic": st.fixed_dictionaries({}, optional={"timeout": st.integers(1, 9), "max_queue": st.integers(0, 9)}),
        "envs": st.dictionaries(st.sampled_from("ABC"), st.text("xyz", max_size=2)),
        "version": st.text("abc", min_size=1, max_size=2),
    },
)
TREES = st.fixed_dictionaries(
    {},
    optional={
        "app": st.fixed_dictionaries({}, optional={"http": st.integers(1, 9), "max_body": st.integers(1, 9)}),
        "services": st.dictionaries(st.sampled_from(["X", "Y"]), SERVICES),
    },
)


def layer(tree: dict[str, Any]) -> Layer:
    reader = Reader([])
    read = reader.read("file", tree, Remark("somewhere", Path("/"), "file"))
    assert reader.problems == []
    return read


def collapsed(*layers: Layer) -> Layer:
    return Layer("file", {path: entries[-1] for path, entries in merge(layers).items()})


def in_force(one: Layer) -> dict[tuple[str, ...], Entry]:
    return one.entries


@settings(deadline=None)  # the machine may be busy
@given(TREES, TREES, TREES)
def test_merging_is_associative(low: dict[str, Any], middle: dict[str, Any], high: dict[str, Any]):
    a, b, c = layer(low), layer(middle), layer(high)
    assert in_force(collapsed(collapsed(a, b), c)) == in_force(collapsed(a, collapsed(b, c)))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(TREES, max_size=4))
def test_the_highest_layer_that_says_something_wins(trees: list[dict[str, Any]]):
    layers = [layer(tree) for tree in trees]
    stack = merge(layers)
    assert stack.keys() == {path for one in layers for path in one.entries}
    for path, entries in stack.items():
        assert entries == [one.entries[path] for one in layers if path in one.entries]
