"""Whoever tells a checker to look away says why, on the same line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("bench", "examples", "ipc", "packaging", "supervisor", "tests")
_EXCEPTION = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ?ignore\[[a-z, -]+\]|pragma: no [a-z]+)(?P<reason>.*)")
_BARE = re.compile(r"# (?:noqa(?!: [A-Z])|type: ?ignore(?!\[))")
_WORDS = re.compile(r"[a-z]{2}.* .*[a-z]{2}")


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_exception_has_its_code_and_its_reason(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            place = f"{path.relative_to(ROOT)}:{number}"
            assert not _BARE.search(line), f"{place}: which check is it?"
            found = _EXCEPTION.search(line)
            assert found is None or _WORDS.search(found["reason"]), f"{place}: why? {line.strip()}"
