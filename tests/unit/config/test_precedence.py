"""For every key and every pair of layers that can set it the higher one wins, and `explain` says so."""

from __future__ import annotations

import itertools

import pytest
from config_graphs import PYTHON, app_of, graph, write
from config_values import NEEDS, VALUES, applicable, concrete, decorator, shell_of, toml_of, variable

from svcd.config import Sources, read, resolve, schema
from svcd.config.explain import explain
from svcd.values.specs import ServiceSpec

WHERE = {
    "decorator": "decorator service.py:12",
    "file": "svcd.toml:1",
    "profile": "svcd.toml:2",
    "second file": "more.toml:1",
    "second file's profile": "more.toml:2",
    "environment": "SVCD__",
    "--set": "--set ",
}


def test_each_key_of_the_schema_has_values_here():
    assert VALUES.keys() == {key.path for key in schema.KEYS}


PAIRS = [
    pytest.param(key, low, high, id=f"{key.path}: {low} < {high}")
    for key in schema.KEYS
    for low, high in itertools.combinations(applicable(key), 2)
]


BASE = """
[instance_types.one]
[instance_types.two]
[profiles.prod]
"""
PROG = '[services.Prog]\ncommand = ["true"]\n'


@pytest.mark.parametrize(("key", "low", "high"), PAIRS)
@pytest.mark.usefixtures("folder")
def test_the_higher_layer_wins_and_explain_says_so(key: schema.Key, low: str, high: str):
    path = concrete(key.path)
    dotted = ".".join(path)
    said = dict(zip((low, high), VALUES[key.path], strict=True))
    line = {layer: f"{dotted} = {toml_of(value)}\n" for layer, value in said.items()}
    profile_line = {layer: f"profiles.prod.{text}" for layer, text in line.items()}
    entry = "" if key.path == "app.service" else 'app.service = "service:Model"\n'
    files = [
        write("base.toml", entry + NEEDS.get(key.path, "") + BASE + ("" if path[-1] == "command" else PROG)),
        write("svcd.toml", line.get("file", "\n") + profile_line.get("profile", "")),
        write("more.toml", line.get("second file", "\n") + profile_line.get("second file's profile", "")),
    ]
    environ = {variable(path): shell_of(said["environment"])} if "environment" in said else {}
    sets = [f"{dotted}={toml_of(said['--set'])}"] if "--set" in said else []
    report = graph(Model={"config": decorator(path, said["decorator"]) if "decorator" in said else {}}, Vote={})

    documents = read(Sources(files=files, profile="prod", environ=environ, sets=sets))
    resolve(documents, report, default_python=PYTHON)

    explained = next(it for it in explain(documents, report) if it.key == dotted)
    layers = [layer for layer in explained.layers if layer.layer != "default"]
    assert [layer.value for layer in layers] == [toml_of(value) for value in said.values()]
    assert [layer.where.startswith(WHERE[name]) for layer, name in zip(layers, said, strict=True)] == [True, True]


@pytest.mark.usefixtures("folder")
def test_without_any_layer_the_schema_has_the_word():
    spec = app_of()
    model = spec.services["Model"]
    default = ServiceSpec(name="Model", target="service:Model", python=PYTHON, version="c0ffee")
    assert model == ServiceSpec(name="Model", target="service:Model", python=PYTHON, version="c0ffee", apis=model.apis)
    assert (model.traffic, model.limits, model.scaling) == (default.traffic, default.limits, default.scaling)
    assert (spec.http.host, spec.http.port) == ("127.0.0.1", 3000)


@pytest.mark.usefixtures("folder")
def test_explain_does_not_show_secrets():
    text = "[services.Model]\nenvs = { API_KEY = 'hunter2', MODEL = 'm', T = { file = 'k' }, H = { from_host = true } }"
    write("svcd.toml", f'[app]\nservice = "service:Model"\n{text}')
    explained = {it.key: it.winner.value for it in explain(read(Sources(environ={"H": "hunter2"})), graph(Model={}))}
    envs = {key.removeprefix("services.Model.envs."): value for key, value in explained.items() if ".envs." in key}
    assert envs == {
        "API_KEY": "(not shown)",
        "MODEL": '"m"',
        "T": '{ file = "k" }',
        "H": "{ from_host = true }",
    }
