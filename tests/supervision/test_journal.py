"""The file of events says how many it could not take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from svcd.host.log_files import LogFile
from svcd.runtime.bus import Bus
from svcd.runtime.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


def test_events_that_are_lost_are_counted_once_each(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.symlink_to("/dev/full")
    journal = Journal(LogFile(""), LogFile(str(path), stamped=False), Bus(), clock=lambda: 1e9)
    for _ in range(3):  # each but the first would tell of those before it, too
        journal.note("machine", "trouble")
    path.unlink()
    journal.note("machine", "over")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(event["kind"], event["to"], event["reason"]) for event in told] == [
        ("daemon", "lost", "3 events were lost here: No space left on device"),
        ("machine", "over", ""),
    ]
