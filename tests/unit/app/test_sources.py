"""Which files a service's version is made of: what its module imports from the app's folder, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from svcd.app.sources import fingerprint, source_files

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "import helper",
        "import helper as h, os",
        "from helper import this",
        "def later():\n    from helper import this",
        "if True:\n    import helper",
        "from . import helper",
        "from .helper import this",
        "import between",
    ],
)
def test_what_a_module_imports_counts_wherever_it_does_so(tmp_path: Path, text: str) -> None:
    write(tmp_path, service=text, helper="A = 1", between="import helper", other="B = 1")
    before = fingerprint(tmp_path / "service.py", tmp_path)
    write(tmp_path, other="B = 2")
    assert fingerprint(tmp_path / "service.py", tmp_path) == before
    write(tmp_path, helper="A = 2")
    assert fingerprint(tmp_path / "service.py", tmp_path) != before


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("from words import Words\n\nclass Entry:\n    words = svcd.depends(Words, fallback=Words)", False),
        ("import words\n\nclass Entry:\n    words = depends(words.Words)", False),
        ("from words import Words\n\nclass Entry(Words):\n    words = depends(Words)", True),
        ("from words import Words, SIZE\n\nclass Entry:\n    words = depends(Words)\n    size = SIZE", True),
        ("import words", True),
    ],
    ids=["named", "by module", "inherited", "with more", "for its effects"],
)
def test_a_callee_is_no_part_of_its_caller(tmp_path: Path, text: str, counts: bool) -> None:
    write(tmp_path, service=text, words="")
    files = source_files(tmp_path / "service.py", tmp_path)
    assert (tmp_path / "words.py" in files) is counts


def test_packages_run_what_they_have_on_the_way(tmp_path: Path) -> None:
    first = "import models.words"
    write(tmp_path, models__words="from ..shared import clean", shared=first, service=first)
    (tmp_path / "models" / "__init__.py").write_text("")
    files = source_files(tmp_path / "service.py", tmp_path)
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        "service.py",
        "models/__init__.py",
        "models/words.py",
        "shared.py",
    ]


def test_what_is_installed_elsewhere_or_cannot_be_read_adds_nothing(tmp_path: Path) -> None:
    write(tmp_path, service="import json, nobody, broken", broken="def (")
    assert [file.name for file in source_files(tmp_path / "service.py", tmp_path)] == ["service.py", "broken.py"]
    assert fingerprint(tmp_path / "gone.py", tmp_path) == ""
