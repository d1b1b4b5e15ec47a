"""`svcd.depends("Llm")` of a command service: found in the graph, a text on an instance, refused with words."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import svcd
from svcd.app.discover import describe
from svcd.app.graph import build
from svcd.app.urls import UrlDependency, bind_url, urls_of


@svcd.service
class Base:
    db = svcd.depends("Db")


@svcd.service
class Chat(Base):
    llm = svcd.depends("Llm")
    extra = svcd.depends("Extra", optional=True)


def test_each_is_found_inherited_ones_too() -> None:
    assert [(name, url.service, url.optional) for name, url in urls_of(Chat).items()] == [
        ("db", "Db", False),
        ("llm", "Llm", False),
        ("extra", "Extra", True),
    ]
    assert repr(Chat.llm) == "<svcd.depends Chat.llm -> Llm>"
    assert isinstance(Chat.llm, UrlDependency)


def test_the_report_of_the_graph_names_the_program_and_leaves_it_unresolved_for_nobody() -> None:
    report = describe(build([Chat]), Path())
    assert report["unresolved"] == {}
    assert report["services"]["Chat"]["dependencies"] == [
        {"name": "db", "service": "Db", "target": "Db", "optional": False},
        {"name": "llm", "service": "Llm", "target": "Llm", "optional": False},
        {"name": "extra", "service": "Extra", "target": "Extra", "optional": True},
    ]


def test_the_attribute_is_asked_for_each_time_and_is_a_str() -> None:
    chat, other = Chat(), Chat()
    numbers = itertools.count()
    bind_url(chat, "llm", lambda: f"http://127.0.0.1:{next(numbers)}")
    assert [chat.llm, chat.llm] == ["http://127.0.0.1:0", "http://127.0.0.1:1"]
    with pytest.raises(RuntimeError, match=r"svcd.local\(Chat, replace=\{'Llm': URL\}\)"):
        _ = other.llm
    other.llm = "a text of the test's own"
    assert other.llm == "a text of the test's own"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": 2}, "timeout is for calls, and 'Llm' names a command service"),
        ({"retries": 0}, "retries is for calls"),
        ({"fallback": Base}, "fallback is for calls"),
    ],
)
def test_options_of_calls_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        svcd.depends("Llm", **options)


@pytest.mark.parametrize("name", ["", "9", "my service", "a/b"])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="write 'module:Class', or the name of a command service"):
        svcd.depends(name)
