"""Fixtures: a place for replicas, and a folder for the notes that their services leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from worker_rig import Rig, rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("WORKER_NOTES", str(folder))
    return folder


@pytest.fixture
async def box(tmp_path: Path, notes: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made
