"""What each layer may say, and what comes of it in the specs."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_graphs import PYTHON, graph, model_of, write

from svcd.config import ConfigError, Sources, read, resolve


@pytest.mark.usefixtures("folder")
def test_tables_merge_key_by_key():
    model = model_of(
        "[services.Model]\nenvs = { A = '1', B = '1' }\ntraffic = { timeout = 1, max_queue = 5 }",
        "[services.Model]\nenvs = { B = '2' }\ntraffic.timeout = 2",
        decorator={"envs": {"A": "0", "C": "0"}, "traffic": {"max_concurrency": 7}},
    )
    assert model.envs == {"A": "1", "B": "2", "C": "0"}
    assert (model.traffic.timeout, model.traffic.max_queue, model.traffic.max_concurrency) == (2.0, 5, 7)


@pytest.mark.usefixtures("folder")
def test_a_profile_that_was_not_chosen_says_nothing():
    text = "[profiles.prod.services.Model]\nthreads = 8\n[profiles.dev.services.Model]\nthreads = 2\n"
    assert model_of(text).threads == 1
    assert model_of(text, profile="prod").threads == 8


@pytest.mark.usefixtures("folder")
def test_max_replicas_follows_min_replicas_unless_set():
    assert model_of("[services.Model.scaling]\nmin_replicas = 3").scaling.max_replicas == 3
    assert model_of("[services.Model.scaling]\nmin_replicas = 3\nmax_replicas = 9").scaling.max_replicas == 9


@pytest.mark.usefixtures("folder")
def test_an_instance_type_stands_just_under_its_layers_own_resources():
    types = "[instance_types.big]\ngpu = 4\n[instance_types.small]\ngpu = 1\n"
    named = f"{types}[services.Model]\ninstance_type = 'big'\n"
    assert model_of(named).resources.gpu == 4
    assert model_of(f"{named}resources.gpu = 2").resources.gpu == 2
    assert model_of(named, decorator={"resources": {"gpu": 8}}).resources.gpu == 4
    assert model_of(named, "[services.Model]\nresources.gpu = 3").resources.gpu == 3
    assert model_of(named, "[services.Model]\ninstance_type = 'small'").resources.gpu == 1
    assert model_of(types, decorator={"instance_type": "big"}).resources.gpu == 4
    assert model_of(named, "[instance_types.big]\ngpu = 5").resources.gpu == 5


@pytest.mark.usefixtures("folder")
def test_an_instance_type_that_was_replaced_leaves_nothing():
    types = "[instance_types.gpu]\ngpu = 4\n[instance_types.cpu]\n"
    named = f"{types}[services.Model]\ninstance_type = 'gpu'\n"
    assert model_of(named, sets=["services.Model.instance_type=cpu"]).resources.gpu == 0


@pytest.mark.usefixtures("folder")
def test_the_last_set_wins():
    assert model_of(sets=["services.Model.threads=2", "services.Model.threads=3"]).threads == 3


@pytest.mark.parametrize(
    ("flag", "version"),
    [("v1", "v1"), ('"v1"', "v1"), ("1.10", "1.10"), ("true", "true"), ("2024-01-01", "2024-01-01"), ("a=b", "a=b")],
)
@pytest.mark.usefixtures("folder")
def test_a_flag_for_text_needs_no_quotes(flag: str, version: str):
    assert model_of(sets=[f"services.Model.version={flag}"]).version == version
    assert model_of(environ={"SVCD__SERVICES__MODEL__VERSION": flag}).version == version


@pytest.mark.usefixtures("folder")
def test_a_flag_may_be_a_whole_table_or_have_spaces():
    model = model_of(sets=["services.Model.scaling = { min_replicas = 2, max_replicas = 3 }"])
    assert (model.scaling.min_replicas, model.scaling.max_replicas) == (2, 3)


@pytest.mark.usefixtures("folder")
def test_a_flag_is_no_way_to_a_second_key():
    model = model_of(sets=["services.Model.envs.A='x'\nB = 'y'"])
    assert model.envs == {"A": "'x'\nB = 'y'"}


@pytest.mark.usefixtures("folder")
def test_names_with_dots_are_quoted_in_flags():
    text = '[instance_types."gpu.a100"]\ngpu = 1\n[services.Model]\ninstance_type = "gpu.a100"'
    assert model_of(text, sets=['instance_types."gpu.a100".gpu=2']).resources.gpu == 2


@pytest.mark.usefixtures("folder")
def test_variables_know_services_in_any_case_and_keep_the_case_of_envs():
    environ = {"SVCD__SERVICES__MODEL__THREADS": "2", "SVCD__SERVICES__MODEL__ENVS__My__Var": "3"}
    model = model_of("[services.Model]\nthreads = 5", environ=environ)
    assert (model.threads, model.envs) == (2, {"My__Var": "3"})


@pytest.mark.usefixtures("folder")
def test_variables_reach_services_with_two_underscores():
    write("svcd.toml", '[app]\nservice = "service:My__Model"\n')
    documents = read(Sources(environ={"SVCD__SERVICES__MY__MODEL__THREADS": "2"}))
    spec = resolve(documents, graph(My__Model={}), default_python=PYTHON)
    assert spec.services["My__Model"].threads == 2


@pytest.mark.usefixtures("folder")
def test_flags_overrule_variables():
    assert model_of(environ={"SVCD__SERVICES__MODEL__THREADS": "2"}, sets=["services.Model.threads=3"]).threads == 3


@pytest.mark.parametrize(
    ("folder_name", "name"),
    [
        ("digits", "digits"),
        ("my app (2)", "my-app-2"),
        ("..x", "x"),
        ("n" * 50, "n" * 32),
        ("größe", "gr-e"),
        ("§§", "app"),
    ],
)
def test_the_app_is_named_after_its_folder(tmp_path: Path, folder_name: str, name: str):
    path = tmp_path / folder_name / "svcd.toml"
    path.parent.mkdir()
    path.write_text('[app]\nservice = "service:Model"')
    documents = read(Sources(files=[path], environ={}))
    assert (documents.app_name, documents.root) == (name, path.parent)
    assert read(Sources(files=[path], environ={}, sets=[f"app.name={name}"])).app_name == name


def test_interpreters_are_looked_up_from_the_file_that_names_them(folder: Path):
    other = folder / "other"
    other.mkdir()
    (other / "more.toml").write_text('[services.Model]\npython = "../two"\n')
    write("svcd.toml", '[app]\nservice = "service:Model"\npython = "./one"\n')
    files = [Path("svcd.toml"), Path("other/more.toml")]
    assert read(Sources(files=files[:1], environ={})).python_for("Model") == str(folder / "one")
    documents = read(Sources(files=files, environ={}))
    assert documents.python_for("Model") == str(folder / "two")
    assert documents.python_for("Another") == str(folder / "one")
    spec = resolve(documents, graph(Model={}), default_python=PYTHON)
    assert spec.services["Model"].python == str(folder / "two")


def test_interpreters_by_bare_name_come_from_path_and_links_are_kept(folder: Path):
    (folder / "bin").mkdir()
    (folder / "bin" / "mypython").symlink_to(folder / "one")
    sources = {"environ": {"PATH": str(folder / "bin")}, "app": "python = 'mypython'"}
    assert model_of(**sources).python == str(folder / "bin" / "mypython")


def test_variables_name_interpreters_before_the_graph_is_known(folder: Path):
    write("svcd.toml", '[app]\nservice = "service:Model"\n')
    documents = read(Sources(environ={"SVCD__SERVICES__MODEL__PYTHON": "./one"}, sets=["services.Other.python=./two"]))
    assert documents.python_for("Model") == str(folder / "one")
    assert documents.python_for("Other") == str(folder / "two")


def test_an_overruled_interpreter_need_not_exist(folder: Path):
    text = "[services.Model]\npython = 'nowhere/bin/python'"
    assert model_of(text, sets=["services.Model.python=./one"]).python == str(folder / "one")


@pytest.mark.usefixtures("folder")
def test_a_folder_is_no_interpreter():
    interpreter = Path("venv/bin/python")
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to("/bin/sh")
    with pytest.raises(ConfigError, match=r"is a folder, not an interpreter; did you mean venv/bin/python\?"):
        model_of(app="python = 'venv'")


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_no_program_is_no_interpreter():
    Path("text").write_text("")
    with pytest.raises(ConfigError, match=r"/text can't be executed; is it an interpreter\?"):
        model_of(app="python = './text'")


def test_variables_of_a_service_come_from_the_host_from_files_and_can_be_taken_away(folder: Path):
    (folder / "key").write_text("hunter2\n")
    forms = "A = 'a', HOST = { from_host = true }, KEY = { file = 'key' }, HOME = { unset = true }"
    model = model_of(f"[services.Model]\nenvs = {{ {forms} }}", environ={"HOST": "h", "HOME": "/root"})
    assert model.envs == {"A": "a", "HOST": "h", "KEY": "hunter2", "HOME": None}


@pytest.mark.usefixtures("folder")
def test_a_taken_variable_can_be_given_again():
    text = "[services.Model]\nenvs = { A = { unset = true } }"
    assert model_of(text, decorator={"envs": {"A": "0"}}).envs == {"A": None}
    assert model_of(text, "[services.Model]\nenvs.A = '2'").envs == {"A": "2"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff", "holds no UTF-8 text"), (b"a\0b", "NUL"), (b"x" * 200_000, "longer than the 131072 bytes")],
)
def test_a_secret_that_no_variable_can_hold(folder: Path, content: bytes, reason: str):
    (folder / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        model_of("[services.Model]\nenvs = { KEY = { file = 'key' } }")
