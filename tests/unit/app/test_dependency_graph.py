"""The graph: order, names, cycles, and what cannot be imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import svcd
from svcd.app.graph import GraphError, build
from svcd.app.load import ImportFailedError, LoadError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write modules that can be imported in this test, and forget them after it."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(**modules: str) -> None:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text("import svcd\n" + source)
            written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_dependencies_come_first_and_a_diamond_once() -> None:
    @svcd.service
    class Bottom: ...

    @svcd.service
    class Left:
        bottom = svcd.depends(Bottom)

    @svcd.service
    class Right:
        bottom = svcd.depends(Bottom)

    @svcd.service
    class Top:
        left = svcd.depends(Left)
        right = svcd.depends(Right)

    graph = build([Top])
    assert list(graph.nodes) == ["Bottom", "Left", "Right", "Top"]
    assert graph.nodes["Left"].edges["bottom"].node is graph.nodes["Right"].edges["bottom"].node
    assert [node.name for node in graph.entries] == ["Top"]


def test_a_cycle_shows_its_path(write) -> None:
    write(
        ring="@svcd.service\nclass A:\n    b = svcd.depends('ring:B')\n"
        "@svcd.service\nclass B:\n    c = svcd.depends('ring:C')\n"
        "@svcd.service\nclass C:\n    b = svcd.depends('ring:B')\n"
    )
    with pytest.raises(GraphError, match=r"in a circle: B -> C -> B \(.*:\d+, .*:\d+\)$"):
        build(["ring:A"])


def test_names_are_unique_without_regard_to_case() -> None:
    @svcd.service
    class Same: ...

    @svcd.service(name="sAME")
    class Other: ...

    @svcd.service
    class Top:
        one = svcd.depends(Same)
        two = svcd.depends(Other)

    with pytest.raises(GraphError, match=r"'sAME' is taken by .*Same \(.*test_dependency_graph.py:\d+\)"):
        build([Top])


def test_svcds_own_names_are_refused() -> None:
    @svcd.service
    class Ingress: ...

    with pytest.raises(GraphError, match="'Ingress' is svcd's own"):
        build([Ingress])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop:Srevice", r"shop.py: there is no class 'Srevice'; did you mean 'Service'\?"),
        ("shop:helper", r"shop:helper is no service; put @svcd.service above the class"),
        ("shop", "write it as 'module:Class'"),
        ("shpo:Service", r"there is no module 'shpo' in .*, nor installed for .*python"),
    ],
)
def test_a_wrong_entry_is_named(target: str, message: str, write) -> None:
    write(shop="@svcd.service\nclass Service: ...\nhelper = 3\n")
    with pytest.raises(LoadError, match=message):
        build([target])


def test_a_wrong_dependency_names_who_asks(write) -> None:
    write(asker="@svcd.service\nclass Asker:\n    it = svcd.depends('asker:Nobody')\nclass Bare: ...\n")
    with pytest.raises(LoadError, match=r"\(Asker\.it, .*asker\.py:2\): there is no class 'Nobody'"):
        build(["asker:Asker"])

    class Bare: ...

    @svcd.service
    class Top:
        bare = svcd.depends(Bare)

    with pytest.raises(LoadError, match=r"Bare \(Top\.bare, .*\) is no service"):
        build([Top])


def test_a_target_of_another_interpreter_is_left_to_it(write) -> None:
    write(
        near="@svcd.service\nclass Near:\n    far = svcd.depends('far:Far')\n    gone = svcd.depends('gone:Gone')\n",
        far="import torch_of_another_venv\n@svcd.service\nclass Far: ...\n",
    )
    graph = build(["near:Near"])
    assert list(graph.nodes) == ["Near"]
    assert sorted(graph.unresolved) == ["far:Far", "gone:Gone"]
    assert "importing 'far' (Near.far, " in str(graph.unresolved["far:Far"])
    assert "No module named 'torch_of_another_venv'" in str(graph.unresolved["far:Far"])
    assert graph.nodes["Near"].edges["far"].node is None


def test_a_broken_module_is_an_error_wherever_it_stands(write) -> None:
    write(
        near="@svcd.service\nclass Near:\n    far = svcd.depends('broken:Far')\n",
        broken="def load():\n    raise OSError('disk on fire')\nload()\n",
    )
    with pytest.raises(
        ImportFailedError, match=r"importing 'broken' \(Near\.far, .*\) failed: OSError: disk on fire"
    ) as caught:
        build(["near:Near"])
    assert "in load" in caught.value.traceback
    assert "svcd/app" not in caught.value.traceback
    assert caught.value.kind == "import"


def test_a_module_that_exits_is_an_error(write) -> None:
    write(leaver="raise SystemExit(4)\n")
    with pytest.raises(ImportFailedError, match="SystemExit: 4"):
        build(["leaver:Any"])
