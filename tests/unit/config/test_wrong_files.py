"""Each file in `wrong/` is refused with the text beside it: place, key, what was expected, nearest word, quoted line.

`SVCD_RENEW=1 pytest tests/unit/config/test_wrong_files.py` writes the texts anew; read them before committing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from config_graphs import graph

from svcd.config import ConfigError, Sources, read, resolve

WRONG = Path(__file__).parent / "wrong"
FILES = sorted(path.name for path in WRONG.glob("*.toml"))
GRAPH = graph(
    Pipeline={"dependencies": ["Classifier", "Vote"]},
    Classifier={},
    Vote={"config": {"scaling": {"min_replicas": 3, "max_replicas": 4}}, "line": 31},
)


def test_there_are_many_of_them():
    assert len(FILES) >= 80
    assert {path.stem for path in WRONG.glob("*.txt")} == {Path(name).stem for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_says_what_is_wrong_and_where(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(WRONG)
    with pytest.raises(ConfigError) as caught:
        resolve(
            read(Sources(files=[Path(name)], environ={"PATH": "/usr/bin:/bin"})),
            GRAPH,
            default_python="/usr/bin/python3",
        )
    told = f"{caught.value}\n"
    expected = Path(name).with_suffix(".txt")
    if os.environ.get("SVCD_RENEW"):
        expected.write_text(told, "utf-8")
    assert told == expected.read_text("utf-8")
    assert "hunter2" not in told
