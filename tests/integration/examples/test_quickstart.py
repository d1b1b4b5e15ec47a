"""The quickstart in one process, and as its readers run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import svcd
from running import RunningApp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(enter_example: Callable[[str], Path]) -> Path:
    return enter_example("quickstart")


@pytest.fixture(scope="module")
def app(folder: Path) -> Any:
    with svcd.local("service:Mood") as app:
        yield app


def test_it_weighs_the_words_it_knows(app: Any) -> None:
    assert app.score(text="I love it. Slow at times, but good.") == {"score": 2, "love": 2, "slow": -1, "good": 1}
    assert app.score(text="") == {"score": 0}


def test_a_misspelt_argument_is_named(app: Any) -> None:
    with pytest.raises(svcd.InvalidArgument) as caught:
        app.score(txt="good")
    assert {detail["field"] for detail in caught.value.details} == {"text", "txt"}


def test_the_program_is_about_25_lines(folder: Path) -> None:
    lines = (folder / "service.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 25


def test_it_answers_over_http(folder: Path) -> None:
    with RunningApp(folder, options=("--set", "app.http=127.0.0.1:0")) as app:
        app.up()
        assert app.post("score", {"text": "I love it"}) == (200, {"score": 2.0, "love": 2.0})
        assert app.post("score", b"great", "text/plain") == (200, {"score": 2.0, "great": 2.0})
        status, answer = app.post("score", {"txt": "great"})
        assert (status, [detail["field"] for detail in answer["error"]["details"]]) == (400, ["text", "txt"])
