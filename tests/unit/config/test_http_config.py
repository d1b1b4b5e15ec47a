"""What `[app]` says of other origins and of limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_graphs import graph

from svcd.config import ConfigError, Sources, read, resolve
from svcd.values.specs import Cors, HttpLimits


def http_of(toml: str):
    Path("svcd.toml").write_text(f'[app]\nservice = "a:Model"\n{toml}')
    return resolve(read(Sources(files=(Path("svcd.toml"),))), graph(Model={}), default_python="/usr/bin/python3").http


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_specs_own():
    http = http_of("")
    assert (http.limits, http.cors) == (HttpLimits(), Cors())


def test_every_key_arrives():
    http = http_of(
        'max_header = "8Ki"\nmax_connections = 5\nheader_timeout = "1s"\nbody_timeout = "2s"\nidle_timeout = "3s"\n'
        'total_timeout = "4s"\ncors = { origins = ["https://a.example:8443"], methods = ["PUT"], credentials = true }\n'
    )
    assert http.limits == HttpLimits(
        max_header=8192, max_connections=5, header_timeout=1, body_timeout=2, idle_timeout=3, total_timeout=4
    )
    assert http.cors == Cors(origins=("https://a.example:8443",), methods=("PUT",), credentials=True)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('cors = { origins = ["*"], credentials = true }', r"cannot be given with credentials \(svcd.toml:3"),
        ('cors = { origins = ["https://a.example/page"] }', r'did you mean "https://a.example"'),
        ('cors = { origins = "https://a.example" }', "expected an array of origins"),
        ('cors = { methods = ["P T"] }', "expected an array of methods"),
        ('cors = { credentials = "yes" }', "expected true or false"),
        ('cors = { origin = ["*"] }', "did you mean origins"),
        ("max_connections = 0", "at least 1"),
        ('header_timeout = "0s"', "longer than zero"),
    ],
)
def test_what_cannot_be_is_refused(toml: str, says: str):
    with pytest.raises(ConfigError, match=says):
        http_of(toml)
