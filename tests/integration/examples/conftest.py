"""Examples are run from their own folders, as `svcd up` runs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def enter_example() -> Iterator[Callable[[str], Path]]:
    """Put an example's folder first on the path; its modules are forgotten afterwards, as each has a `service`."""
    known, path = set(sys.modules), list(sys.path)

    def enter(name: str) -> Path:
        sys.path.insert(0, str(EXAMPLES / name))
        return EXAMPLES / name

    yield enter
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and EXAMPLES in Path(str(sys.modules[name].__file__)).parents:
            del sys.modules[name]
