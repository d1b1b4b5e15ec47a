"""How what is in force is shown: as TOML that says the same, as lines with what was overruled, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli
from config_graphs import PYTHON, graph, write
from config_values import NEEDS, VALUES, concrete, toml_of

from svcd.config import Sources, read, resolve, schema
from svcd.config.explain import Explanation
from svcd.config.show import as_lines, as_toml, as_tree, explained, select

TEXT = """\
[app]
service = "service:Model"

[instance_types."gpu.one"]
gpu = 1

[services.Model]
instance_type = "gpu.one"
scaling = { min_replicas = 2, max_replicas = 4 }
env_file = "model.env"
envs = { MODEL = "a\\"b", API_KEY = "hunter2", KEY = { file = "key" }, X = { value = "hunter2", secret = true } }

[profiles.prod.services.Model]
scaling.max_replicas = 8
"""


def explanation(text: str = TEXT, **sources: Any) -> Explanation:
    write("svcd.toml", text)
    write("model.env", "\nDOTENV=hunter2\n")
    documents = read(Sources(**{"environ": {}, **sources}))
    return Explanation(documents, graph(Model={"config": {"threads": 3, "scaling": {"max_replicas": 3}}}), PYTHON)


@pytest.mark.usefixtures("folder")
def test_as_toml():
    shown = explanation(sets=["services.Model.nice=1"], profile="prod").all()
    told = [line for line in as_toml(shown) if "#" in line or not line or line.startswith("[")]
    assert [" ".join(line.split()) for line in told] == [
        "[app]",
        'service = "service:Model" # svcd.toml:2',
        "",
        '[instance_types."gpu.one"]',
        "gpu = 1 # svcd.toml:5",
        "",
        "[services.Model]",
        'instance_type = "gpu.one" # svcd.toml:8',
        "resources.gpu = 1 # svcd.toml:5",
        "scaling.min_replicas = 2 # svcd.toml:9",
        "scaling.max_replicas = 8 # svcd.toml:14",
        "threads = 3 # decorator service.py:12",
        "nice = 1 # --set services.Model.nice",
        'env_file = ["model.env"] # svcd.toml:10',
        "# envs.DOTENV = (not shown) # model.env:2",
        'envs.MODEL = "a\\"b" # svcd.toml:11',
        "# envs.API_KEY = (not shown) # svcd.toml:11",
        'envs.KEY = { file = "key" } # svcd.toml:11',
        "# envs.X = (not shown) # svcd.toml:11",
    ]


@pytest.mark.usefixtures("folder")
def test_as_lines_with_what_was_overruled():
    shown = select(explanation(profile="prod").all(), ["services.Model.scaling", "services.Model.resources.gpu"])
    assert [" ".join(line.split()) for line in as_lines(shown)] == [
        "services.Model.resources.gpu = 1 svcd.toml:5 (instance type gpu.one)",
        "over 0 default",
        "services.Model.scaling.min_replicas = 2 svcd.toml:9",
        "over 1 default",
        "services.Model.scaling.max_replicas = 8 svcd.toml:14 (profile prod)",
        "over 4 svcd.toml:9",
        "over 3 decorator service.py:12",
        'services.Model.scaling.down_after = "1m" default',
    ]


@pytest.mark.usefixtures("folder")
def test_as_json():
    key = "services.Model.scaling.max_replicas"
    shown = select(explanation(sets=[f"{key}=9"]).all(), [key])
    assert as_tree(shown) == {"services": {"Model": {"scaling": {"max_replicas": 9}}}}
    flag = {"value": 9, "layer": "--set", "where": f"--set {key}"}
    assert explained(shown) == [
        {
            "key": key,
            **flag,
            "layers": [
                {"value": 3, "layer": "decorator", "where": "decorator service.py:12"},
                {"value": 4, "layer": "file", "where": "svcd.toml:9"},
                flag,
            ],
        }
    ]


@pytest.mark.usefixtures("folder")
def test_what_svcd_scale_has_set_is_the_highest_layer():
    sets = ["services.Model.scaling.min_replicas=3"]
    shown = explanation(sets=sets, scaled={"Model": 5}).all()
    least = next(each for each in shown if each.path[-1] == "min_replicas")
    assert [(said.layer, said.value) for said in least.layers] == [
        ("default", "1"),
        ("file", "2"),
        ("--set", "3"),
        ("svcd scale", "5"),
    ]
    assert least.winner.where == "svcd scale Model=5"
    write("key", "hunter2")
    documents = read(Sources(environ={}, sets=sets, scaled={"Model": 5}))
    scaling = resolve(documents, graph(Model={}), default_python=PYTHON).services["Model"].scaling
    assert (scaling.min_replicas, scaling.max_replicas) == (5, 5)


@pytest.mark.usefixtures("folder")
def test_defaults_that_are_no_constants():
    write("svcd.toml", '[app]\nservice = "service:Model"\nname = "n"\n')
    shown = {it.key: it.layers for it in Explanation(read(Sources(environ={})), graph(Model={}), PYTHON).all()}
    told = {key: [(said.value, said.where) for said in layers] for key, layers in shown.items()}
    assert told["app.name"][-1] == ('"n"', "svcd.toml:3")
    assert told["app.python"] == [(f'"{PYTHON}"', "the one that svcd runs under")]
    assert told["services.Model.python"] == [(f'"{PYTHON}"', "as app.python")]
    assert told["services.Model.scaling.max_replicas"] == [("1", "as services.Model.scaling.min_replicas")]
    assert told["services.Model.version"] == [('"c0ffee"', "fingerprint of its source")]


@pytest.mark.usefixtures("folder")
def test_a_key_of_which_nobody_speaks():
    with pytest.raises(ValueError, match=r"services.Model.thread: no layer .*; did you mean services.Model.threads\?"):
        select(explanation().all(), ["services.Model.thread"])
    with pytest.raises(
        ValueError, match=r"bogus: no layer says anything of it; there is app, instance_types, services; svcd config"
    ):
        select(explanation().all(), ["bogus"])
    with pytest.raises(ValueError, match=r"; below services is Model; svcd config shows all there is"):
        select(explanation().all(), ["services.Zzzzzzzzzzzzzzzzzzzzzzzzzzz.w"])
    with pytest.raises(ValueError, match="svcd config shows all there is"):
        select(explanation().all(), ["=", "%"])


@pytest.mark.usefixtures("folder")
def test_contradictions_are_told_and_sources_of_variables_are_not_read():
    shown = explanation(f"{TEXT}scaling.min_replicas = 9\n", profile="prod")
    assert [problem.message for problem in shown.problems] == [
        "max_replicas is 8, below min_replicas, which is 9 (svcd.toml:15)"
    ]


@pytest.mark.parametrize("key", schema.KEYS, ids=lambda key: key.path)
@pytest.mark.usefixtures("folder")
def test_the_toml_says_what_was_said(key: schema.Key):
    """Read back, what `svcd config` shows is the same configuration, whatever the key."""
    entry = NEEDS.get(key.path, "") + ("" if key.path == "app.service" else 'app.service = "service:Model"\n')
    path = concrete(key.path)
    program = 'services.Prog.command = ["true"]\n' if path[1] == "Prog" and path[-1] != "command" else ""
    said = f"{entry}{program}{'.'.join(path)} = {toml_of(VALUES[key.path][1])}\n"
    write("svcd.toml", f"{said}[instance_types.two]\n")
    report = graph(Model={}, Vote={})

    def look() -> tuple[Any, str]:
        documents = read(Sources(environ={"PATH": ""}))
        shown = Explanation(documents, report, PYTHON).all()
        return resolve(documents, report, default_python=PYTHON), "\n".join(as_toml(shown))

    spec, text = look()
    assert tomli.loads(text)["app"]["service"]
    Path("svcd.toml").write_text(f"{text}\n[instance_types.two]\n", "utf-8")
    assert look()[0] == spec
