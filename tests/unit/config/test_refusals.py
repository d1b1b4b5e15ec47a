"""What is refused outside the text of a file: flags, variables, decorators, files that can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_graphs import PYTHON, app_of, graph, write

from svcd.config import ConfigError, Sources, read, resolve
from svcd.config.envs import Env

LONG = "9" * 5000
NO_PROFILES = "a profile is chosen with `--profile`; set the key itself, without `profiles.NAME`"


def problems_of(*args: Any, **given: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        app_of(*args, **given)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.usefixtures("folder")
def test_all_layers_are_told_of_at_once():
    told = problems_of(
        "[services.Model]\nthreds = 1",
        "[services.Model]\nthreads = 0",
        environ={"SVCD__SERVICES__MODEL__THREADZ": "1", "SVCD__APP": "1", "SVCD__APP__HTTP__PORT": "1"},
        sets=["services.Model.threads=none", "nonsense", "profiles.prod.app.http=1", "=1", "a b=1"],
        profile="prod",
    )
    assert [line.splitlines()[0] for line in told] == [
        "svcd.toml:5:1: services.Model.threds: unknown key; did you mean threads?",
        "more0.toml:2:11: services.Model.threads: expected a whole number from 1 to 1000; found 0",
        "SVCD__APP: app: expected a table; found 1",
        'SVCD__APP__HTTP__PORT: app.http: expected an address such as "127.0.0.1:3000", or a port; found a table',
        "SVCD__SERVICES__MODEL__THREADZ: services.MODEL.threadz: unknown key; did you mean threads?",
        '--set services.Model.threads: expected a whole number from 1 to 1000; found "none"',
        "--set nonsense: expected KEY=VALUE, such as services.NAME.threads=2",
        f"--set profiles.prod.app.http: {NO_PROFILES}",
        "--set ...: expected KEY=VALUE, such as services.NAME.threads=2",
        "--set a...: expected KEY=VALUE, such as services.NAME.threads=2",
        "--profile prod: no such profile; there is none in the file",
    ]


@pytest.mark.usefixtures("folder")
def test_services_that_are_not_there_in_variables_and_flags():
    told = problems_of(environ={"SVCD__SERVICES__MODLE__THREADS": "1"}, sets=["services.model.threads=1"])
    assert told == [
        "SVCD__SERVICES__MODLE__THREADS: services.MODLE: no such service; did you mean Model?",
        "--set services.model.threads: services.model: no such service; did you mean Model?",
    ]


@pytest.mark.usefixtures("folder")
def test_decorators_are_held_to_the_same_schema():
    told = problems_of(decorator={"resources": {"gpuu": 1}, "threads": "many", "python": "x", "envs": {"A": 1}})
    assert told == [
        "service.py:12: services.Model.python: belongs in the TOML file: it is needed before the class is imported",
        "service.py:12: services.Model.resources.gpuu: unknown key; did you mean gpu?",
        'service.py:12: services.Model.threads: expected a whole number from 1 to 1000; found "many"',
        "service.py:12: services.Model.envs.A: " + Env.expected + "; write it in quotes",
    ]


@pytest.mark.usefixtures("folder")
def test_classes_that_differ_in_case_only_and_the_reserved_name():
    write("svcd.toml", '[app]\nservice = "service:Model"\n')
    report = graph(Model={}, model={"line": 20}, Ingress={"line": 30})
    with pytest.raises(ConfigError) as caught:
        resolve(read(Sources(environ={})), report, default_python=PYTHON)
    assert [str(problem) for problem in caught.value.problems] == [
        "service.py:20: services.model: differs from Model only in case; rename one of the classes",
        "service.py:30: services.Ingress: the name is svcd's own, for the process that speaks HTTP; rename the class",
    ]


def test_no_file_a_folder_and_one_that_may_not_be_read(folder: Path):
    with pytest.raises(ConfigError) as caught:
        read(Sources(files=[Path("nix.toml"), folder, Path("/proc/self/mem")], environ={}))
    assert [str(problem) for problem in caught.value.problems] == [
        "nix.toml: no such file; `-f FILE` names the app's TOML file",
        f"{folder}: is a folder; name the file in it: `-f {folder}/svcd.toml`",
        "/proc/self/mem: can't be read: Input/output error",
    ]


def test_no_file_at_all():
    with pytest.raises(ConfigError, match="no file was named; `-f FILE` names the app's TOML file"):
        read(Sources(files=[], environ={}))


@pytest.mark.parametrize(
    ("before", "place"),
    [
        ("[services.Model]\nthreads = ", "4:11"),
        ("[services.Model]\nlabels = [\n  1, -", "5:7"),
        (f'text = "{LONG}"\nother = 0x{LONG}  # {LONG}\nk{LONG} = 1.{LONG}\nthreads = ', "6:11"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_number_that_python_does_not_read_is_named_by_its_place(before: str, place: str):
    write("svcd.toml", f'[app]\nservice = "service:Model"\n{before}{LONG}\n')
    with pytest.raises(ConfigError) as caught:
        read(Sources(environ={}))
    assert str(caught.value) == f"svcd.toml:{place}: a number of 5000 digits; no key takes more than 19"


@pytest.mark.usefixtures("folder")
def test_a_byte_order_mark_is_no_mistake():
    Path("svcd.toml").write_bytes(b'\xef\xbb\xbf[app]\nservice = "service:Model"\n')
    assert read(Sources(environ={})).entry == "service:Model"
