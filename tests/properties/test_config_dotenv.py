"""Whatever stands in an env_file, reading it ends in variables or in problems with the file and a line."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.config import ConfigError, Sources, read, resolve

GRAPH = {"entry": "M", "services": {"M": {"name": "M", "target": "service:M"}}}
LINES = st.lists(
    st.sampled_from(
        ["A=1", "export B='x'", 'C="${A}"', "# note", "", "A", "=", "D='open", 'E="\\', "F=${", "\r", "G=\0"]
    )
    | st.text("AB='\"\\#${} \n\r\t", max_size=12),
    max_size=6,
)


@settings(deadline=None)  # the machine may be busy
@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_env_file_is_read_or_refused_with_places(lines: list[str], end: str):
    text = end.join(lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "svcd.toml")
        path.write_text('[app]\nservice = "service:M"\n[services.M]\nenv_file = "m.env"\n')
        Path(folder, "m.env").write_bytes(text.encode())
        try:
            spec = resolve(read(Sources(files=[path], environ={})), GRAPH, default_python="/python")
        except ConfigError as error:
            for problem in error.problems:
                assert problem.file == f"{folder}/m.env"
                assert problem.line is not None
                assert 1 <= problem.line <= 1 + sum(text.count(each) for each in "\n\r")
                assert problem.source is None
            return
    for name, value in spec.services["M"].envs.items():
        assert name in text
        assert "\0" not in (value or "")
