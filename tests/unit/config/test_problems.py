"""How a problem reads, and that reading a configuration loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from svcd.config import ConfigError, Problem
from svcd.config.problems import nearest


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(message="is odd"), "is odd"),
        (Problem(message="is odd", file="a.toml"), "a.toml: is odd"),
        (Problem(message="is odd", file="a.py", line=3, key="k"), "a.py:3: k: is odd"),
        (Problem(message="is odd", key="k", suggestion="even"), "k: is odd; did you mean even?"),
        (
            Problem(message="is odd", file="a.toml", line=3, column=5, key="k", source="k = 'x'", width=3),
            "a.toml:3:5: k: is odd\n    3 | k = 'x'\n      |     ^^^",
        ),
        (
            Problem(message="is odd", file="a.toml", line=123456, column=2, source="\tk", width=1),
            "a.toml:123456:2: is odd\n123456 | \tk\n       | \t^",
        ),
        (
            Problem(message="is odd", file="a.toml", line=1, column=5, source="時e\u0301 k", width=1),
            "a.toml:1:5: is odd\n    1 | 時e\u0301 k\n      |     ^",
        ),
    ],
)
def test_a_problem_reads(problem: Problem, text: str):
    assert str(problem) == text


def test_problems_are_told_in_the_order_in_which_a_file_is_read():
    found = [
        Problem(message="3", file="b", line=9, column=1),
        Problem(message="2", file="b", line=2, column=7),
        Problem(message="4", file="b"),
        Problem(message="5", file="a", line=1, column=1),
        Problem(message="1", file="b", line=2, column=3),
    ]
    error = ConfigError(found)
    assert [problem.message for problem in error.problems] == ["1", "2", "3", "4", "5"]
    assert str(error) == "b:2:3: 1\nb:2:7: 2\nb:9:1: 3\nb: 4\na:1:1: 5"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("max_replica", "max_replicas"), ("MaxReplicas", "max_replicas"), ("max-replicas", "max_replicas"), ("x", None)],
)
def test_nearest(word: str, meant: str | None):
    assert nearest(word, ["max_replicas", "min_replicas", "Threads"]) == meant


def test_reading_a_configuration_loads_nothing_heavy():
    script = "import sys, svcd.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    heavy = {
        "pydantic",
        "rich",
        "click",
        "trio",
        "msgpack",
        "psutil",
        "pynvml",
        "difflib",
        "unicodedata",
        "svcd.config.positions",
    }
    assert not heavy & loaded
    assert "tomli" in loaded
