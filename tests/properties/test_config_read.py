"""Whatever stands in a file, reading it ends in documents or in a ConfigError whose every problem has a place."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.config import ConfigError, Sources, read, resolve

GOOD = """\
[app]
service = "service:Model"
http = "127.0.0.1:3000"

[instance_types."gpu.one"]
gpu = 1

[services.Model]
instance_type = "gpu.one"
scaling = { min_replicas = 2, max_replicas = 2 }
traffic.timeout = "10s"
envs = { A = "größe", B = { unset = true } }  # 時間

[profiles.prod.services.Model]
threads = 2
"""
GRAPH = {"entry": "Model", "services": {"Model": {"name": "Model", "target": "service:Model"}}}
PIECES = st.sampled_from(
    [*"[]{}=.,#\"'\\\n\r\t\0 1ax-", "\u00e9", '"""', "[[", "]]", "inf", "1979-05-27", "{a=1}", "true"]
)


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(PIECES | st.just("")) + text[start + draw(st.integers(0, 6)) :]
    return text


def told(path: Path, sets: list[str], environ: dict[str, str]) -> ConfigError | None:
    try:
        resolve(
            read(Sources(files=[path], profile="prod", sets=sets, environ=environ)), GRAPH, default_python="/python"
        )
    except ConfigError as error:
        return error
    return None


@settings(deadline=None)  # the machine may be busy
@given(spoilt())
def test_a_spoilt_file_is_read_or_refused_with_places(text: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "svcd.toml")
        path.write_bytes(text.encode())
        error = told(path, [], {})
    for problem in error.problems if error else ():
        assert problem.file
        assert str(problem)
        if problem.source is not None:
            assert problem.line
            assert problem.column
            # "\r" alone may end a line for str.splitlines, but not in TOML.
            assert len(problem.source) == len(text.split("\n")[problem.line - 1].rstrip("\r"))
            assert 1 <= problem.column <= len(problem.source) + 1


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.text("servicaModl.=\"'{}[]1 \n", max_size=20) | st.just("services.Model.threads=2"), max_size=3),
    st.dictionaries(
        st.text("_APSERVICMODL", max_size=8).map(lambda name: f"SVCD__{name}"), st.text(max_size=5), max_size=3
    ),
)
def test_any_flags_and_variables_are_read_or_refused(sets: list[str], environ: dict[str, str]):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "svcd.toml")
        path.write_text(GOOD, "utf-8")
        error = told(path, sets, environ)
    for problem in error.problems if error else ():
        assert problem.file
        assert str(problem)
