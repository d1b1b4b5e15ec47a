"""The digits example in one process: what it was not trained on, it reads right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import svcd

np = pytest.importorskip("numpy")
datasets = pytest.importorskip("sklearn.datasets")
images = pytest.importorskip("PIL.Image")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(enter_example: Callable[[str], Path]) -> Path:
    return enter_example("digits")


@pytest.fixture(scope="module")
def app(folder: Path) -> Any:
    with svcd.local("service:Digits") as app:
        yield app


def test_at_least_95_percent_of_the_held_out_digits_are_right(app: Any, folder: Path) -> None:
    pictures = sorted((folder / "held_out").glob("*.png"))
    wrong = [path.name for path in pictures if app.classify(image=path.read_bytes()).digit != int(path.stem[-1])]
    assert len(pictures) == 360
    assert 1 - len(wrong) / len(pictures) >= 0.95, wrong


def test_a_verdict_has_probabilities(app: Any, folder: Path) -> None:
    verdict = app.classify(image=(folder / "held_out" / "0004_4.png").read_bytes())
    assert verdict.digit == 4
    assert verdict.unanimous is True
    assert len(verdict.probabilities) == 10
    assert verdict.probabilities[4] == max(verdict.probabilities)
    assert sum(verdict.probabilities) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("body", [b"", b"no picture", b"\x89PNG\r\n\x1a\n and no more"])
def test_what_is_no_picture_is_refused(app: Any, body: bytes) -> None:
    with pytest.raises(svcd.InvalidArgument, match="not a picture"):
        app.classify(image=body)


def test_the_pictures_are_exactly_the_samples_that_training_leaves_out(folder: Path) -> None:
    from samples import INK, split

    digits, (train, held_out) = datasets.load_digits(), split()
    assert sorted([*train, *held_out]) == list(range(len(digits.target)))
    for row in held_out:
        with images.open(folder / "held_out" / f"{row:04d}_{digits.target[row]}.png") as picture:
            assert (picture.mode, picture.size) == ("L", (8, 8))
            assert (np.rint(np.asarray(picture) * (INK / 255)) == digits.images[row]).all()
    assert len(list((folder / "held_out").iterdir())) == len(held_out)


def test_the_readme_speaks_of_files_that_are_there(folder: Path) -> None:
    for name in re.findall(r"@([\w./]+)", (folder / "README.md").read_text()):
        assert (folder / name).is_file()
