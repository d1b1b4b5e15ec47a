"""`make bench` for two contenders: fresh processes, figures, tables and pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

RUN = Path(__file__).parents[2] / "bench" / "run.py"


def test_figures_tables_and_pictures(tmp_path: Path) -> None:
    command = [sys.executable, RUN, "--quick", "--only", "one_process", "--only", "hypercorn_http", "--out", tmp_path]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads((tmp_path / "results.json").read_text())
    assert {row["key"]["contender"] for row in found["rows"]} == {"one_process", "hypercorn_http"}
    assert all(row["lost"] == 0 < row["calls"] for row in found["rows"])
    assert found["left_out"] == {}
    assert found["ups"]["hypercorn_http"] > 0
    assert "### HTTP, a small JSON body" in output
    assert output.strip() in (tmp_path / "results.md").read_text()
    for name in ("payload", "http"):
        picture = ET.parse(tmp_path / f"{name}.svg")  # noqa: S314 - what was just written here
        assert "href" not in (tmp_path / f"{name}.svg").read_text()
        assert len(picture.getroot().findall(".//{*}circle")) >= 5
