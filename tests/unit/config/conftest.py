"""What the tests of configuration share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder that has nothing but two interpreters, `one` and `two`, and as many empty env_files."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        interpreter = tmp_path / name
        interpreter.write_text("#!/bin/sh\n")
        interpreter.chmod(0o755)
        (tmp_path / f"{name}.env").touch()
    return tmp_path
