"""Programs as services, from the configuration to their specs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from config_graphs import PYTHON, graph, write

from svcd.config import ConfigError, Sources, read, resolve
from svcd.config.explain import explain
from svcd.values.commands import Command, Evidence, Restart, Sign, fill, strange_words

if TYPE_CHECKING:
    from svcd.values.specs import AppSpec

pytestmark = pytest.mark.usefixtures("folder")


def app_with(text: str, report: dict[str, Any] | None = None, **sources: Any) -> AppSpec:
    write("svcd.toml", f'[app]\nservice = "service:Model"\n{text}')
    documents = read(Sources(**{"environ": {}, **sources}))
    return resolve(documents, report or graph(Model={}), default_python=PYTHON)


def command_with(text: str, **sources: Any) -> Command:
    command = app_with(f"[services.Llm]\n{text}", **sources).services["Llm"].command
    assert command is not None
    return command


def depending_on(name: str) -> dict[str, Any]:
    report = graph(Model={})
    edge = {"name": "llm", "service": name, "target": name, "optional": False}
    report["services"]["Model"]["dependencies"].append(edge)
    return report


@pytest.mark.parametrize(
    ("text", "ready", "url"),
    [
        ('command = ["a"]', Evidence(), ""),
        ('command = ["a", "--port={port}"]', Evidence(sign=Sign.TCP), "http://127.0.0.1:{port}"),
        ('command = ["a", "{socket}"]', Evidence(sign=Sign.TCP), "unix:{socket}"),
        ('command = ["a"]\nport = 80', Evidence(sign=Sign.TCP), "http://127.0.0.1:{port}"),
        ('command = ["a"]\nurl = "x://{port}"', Evidence(), "x://{port}"),
        ('command = ["a", "{port}"]\nreadiness.tcp = false', Evidence(), "http://127.0.0.1:{port}"),
        ('command = ["a"]\nreadiness.tcp = true', Evidence(sign=Sign.TCP), "http://127.0.0.1:{port}"),
        ('command = ["a"]\nreadiness.http = "/x"', Evidence(sign=Sign.HTTP, path="/x"), "http://127.0.0.1:{port}"),
        ('command = ["a"]\nreadiness.exec = ["b"]', Evidence(sign=Sign.EXEC, argv=("b",)), ""),
        ('command = ["a"]\nreadiness.notify = true', Evidence(sign=Sign.NOTIFY), ""),
        ('command = ["a"]\nreadiness.fd = 4', Evidence(sign=Sign.FD, fd=4), ""),
        ('command = ["a", "{port}"]\ntype = "oneshot"', Evidence(sign=Sign.EXIT), ""),
    ],
)
def test_what_is_not_said_follows_from_what_is(text: str, ready: Evidence, url: str) -> None:
    command = command_with(text)
    assert (command.ready, command.url) == (ready, url)


def test_what_it_is_alive_by() -> None:
    command = command_with('command = ["a", "{port}"]\nliveness = { http = "/live", period = "10s" }')
    assert command.alive == Evidence(sign=Sign.HTTP, path="/live", asks="alive")
    assert command_with('command = ["a"]\nliveness.exec = ["b"]').alive == Evidence(
        sign=Sign.EXEC, argv=("b",), asks="alive"
    )


def test_when_it_is_started_again() -> None:
    assert command_with('command = ["a"]').restart is Restart.ALWAYS
    oneshot = command_with('command = ["a"]\ntype = "oneshot"')
    assert (oneshot.restart, oneshot.is_done(0), oneshot.is_done(1)) == (Restart.ON_FAILURE, True, False)
    assert not command_with('command = ["a"]').is_done(0)
    assert command_with('command = ["a"]\nrestart = "never"').is_done(0)


def test_all_that_services_have_it_has_too() -> None:
    text = 'command = ["a"]\nresources = { gpu = 1 }\nenvs = { A = "b" }\nscaling = { min_replicas = 2 }\nnice = 3'
    spec = app_with(f"[services.Llm]\n{text}\n[services.Model]\nafter = ['Llm']").services["Llm"]
    assert (spec.resources.gpu, spec.envs, spec.scaling.min_replicas, spec.process.nice) == (1, {"A": "b"}, 2, 3)
    assert (spec.target, spec.apis, spec.python) == ("", (), PYTHON)
    assert len(spec.version) == 12
    assert app_with("[services.Llm]\ncommand = ['b']").services["Llm"].version != spec.version


def test_each_layer_may_say_it() -> None:
    profile = "[services.Llm]\ncommand = ['a']\n[profiles.prod.services.Llm]\ncommand = ['b', '{port}']"
    command = app_with(profile, profile="prod").services["Llm"].command
    assert command is not None
    assert command.argv == ("b", "{port}")
    said = {"SVCD__SERVICES__LLM__COMMAND": '["c"]', "SVCD__SERVICES__LLM__READINESS__HTTP": "/x"}
    command = app_with("[services.Llm]\ncommand = ['a']", environ=said).services["Llm"].command
    assert command is not None
    assert (command.argv, command.ready.path) == (("c",), "/x")
    assert "Llm" in app_with("", sets=['services.Llm.command=["d"]']).services


def test_a_program_of_a_profile_that_was_not_chosen_is_no_mistake_and_none_of_the_app() -> None:
    assert app_with("[profiles.prod.services.Llm]\ncommand = ['a']").services.keys() == {"Model"}


def test_a_dependency_on_it_is_known_by_its_name() -> None:
    app = app_with("[services.Llm]\ncommand = ['a']", depending_on("Llm"))
    assert [edge.service for edge in app.services["Model"].dependencies] == ["Llm"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Lmm", "service.py:12: Model.llm: there is no command service Lmm; did you mean Llm?"),
        ("Db", 'there is no command service Db; declare it: [services.Db] command = ["program", ...]'),
        ("Model", 'Model is a class: svcd.depends(Model), or svcd.depends("service:Model")'),
    ],
)
def test_one_that_leads_nowhere_is_refused(name: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        app_with("[services.Llm]\ncommand = ['a']", depending_on(name))
    assert told in str(caught.value)


def test_placeholders_are_filled_in_and_other_braces_stay() -> None:
    words = {"port": "1", "socket": "/s", "replica": "0", "python": "/p"}
    text = '{port}:{socket}:{replica}:{python} {"port": {a}} ${HOME} {} {{port}}'
    assert fill(text, words) == '1:/s:0:/p {"port": {a}} ${HOME} {} {1}'
    assert strange_words("{prot} {port} ${home} {{x}} {A}") == ["prot"]


def test_a_password_in_a_url_is_not_shown() -> None:
    url = 'url = "postgresql://app:hunter2@127.0.0.1:{port}/db"'
    write("svcd.toml", f'[app]\nservice = "service:Model"\n[services.Db]\ncommand = ["a"]\n{url}')
    shown = {it.key: it.winner.value for it in explain(read(Sources(environ={})), graph(Model={}))}
    assert shown["services.Db.url"] == "(not shown)"
    with pytest.raises(ConfigError) as caught:
        app_with(f"[services.Db]\ncommand = ['a']\n{url.replace('{port}', '{prot}')}")
    assert "{prot} is not filled in" in str(caught.value)
    assert "hunter2" not in str(caught.value)
