"""The fixture `fake_box`: `env = fake_box(TOML)` makes a machine with the GPUs that the TOML describes (see box.py)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from fakenvml.box import HERE, Box, build, compiler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NO_COMPILER = "no C compiler to build the fake libnvidia-ml.so.1 with (install gcc)"


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake library, compiled once per session."""
    if compiler() is None:
        pytest.skip(NO_COMPILER)
    return build(tmp_path_factory.mktemp("fakenvml"))


@pytest.fixture
def make_box(nvml_library: Path, tmp_path: Path) -> Callable[[str], Box]:
    """Make a machine out of TOML text, or of the name of a file in boxes/; it can be changed while in use."""
    numbers = itertools.count()

    def make(toml: str) -> Box:
        text = toml if "\n" in toml or "=" in toml else (HERE / "boxes" / f"{toml}.toml").read_text()
        return Box(tmp_path / f"box{next(numbers)}", nvml_library, text)

    return make


@pytest.fixture
def fake_box(make_box: Callable[[str], Box]) -> Callable[[str], dict[str, str]]:
    """Make a machine; return what to add to the environment of programs that shall see it."""
    return lambda toml: make_box(toml).env


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a compiler, so that it is skipped, and counted, where there is none."""
    for item in items:
        if "nvml_library" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.compiler)
            if compiler() is None:
                item.add_marker(pytest.mark.skip(reason=NO_COMPILER))
