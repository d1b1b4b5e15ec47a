"""The benchmark of a hop runs, loses nothing and writes what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HOP = Path(__file__).parents[2] / "bench" / "hop.py"


def test_a_quick_run(tmp_path: Path) -> None:
    report = tmp_path / "hop.json"
    command = [sys.executable, HOP, "--quick", "--only", "one core", "--json", report]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "svcd / floor:" in output
    found = json.loads(report.read_text())
    assert [(row["contender"], row["in_flight"]) for row in found["rows"]] == [
        *(("floor", 1), ("svcd", 1), ("floor", 64), ("svcd", 64)),
    ]
    assert all(row["lost"] == 0 and row["p50"] > 0 for row in found["rows"])
    assert [one["in_flight"] for one in found["ratios"]] == [1, 64]
