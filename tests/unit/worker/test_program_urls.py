"""Dependencies on programs: under `svcd.local`, and as a worker hears of them."""

from __future__ import annotations

import itertools
import re

import pytest

import svcd
from svcd.app.load import LoadError
from svcd.worker.urls import Urls


@svcd.service
class Chat:
    llm = svcd.depends("Llm")
    extra = svcd.depends("Extra", optional=True)

    def __init__(self) -> None:
        self.at_start = self.llm

    @svcd.api
    def url(self, name: str = "llm") -> str:
        found = getattr(self, name)
        assert type(found) is str
        return found


@svcd.service
class Entry:
    chat = svcd.depends(Chat)

    @svcd.api
    async def url(self) -> str:
        return self.chat.url.__name__ + " " + await self.chat.url.to_async()


def test_a_url_stands_in_for_it() -> None:
    with svcd.local(Entry, replace={"Llm": "http://127.0.0.1:8000"}) as app:
        assert app.url() == "url http://127.0.0.1:8000"
        assert app[Chat].url() == "http://127.0.0.1:8000"


async def test_in_trio_as_well() -> None:
    async with svcd.local(Chat, replace={"Llm": "http://127.0.0.1:8000", "Extra": "unix:/x"}) as app:
        assert [await app.url(), await app.url(name="extra")] == ["http://127.0.0.1:8000", "unix:/x"]


def test_without_one_the_app_is_not_made() -> None:
    told = "Chat.llm: the command service Llm is not started here; pass replace={'Llm': \"http://...\"}"
    with pytest.raises(LoadError, match=re.escape(told)):
        svcd.local(Entry)


def test_what_is_no_url_cannot_stand_in() -> None:
    with pytest.raises(LoadError, match=r"Chat\.llm: the command service Llm is a program: 8000 is not its URL"):
        svcd.local(Entry, replace={"Llm": 8000})


def test_a_replacement_of_nothing_is_refused() -> None:
    with pytest.raises(LoadError, match=r"replace: nothing in this app depends on 'Lmm'"):
        svcd.local(Entry, replace={"Llm": "http://x", "Lmm": "http://x"})


def test_an_optional_one_may_be_missing_until_it_is_read() -> None:
    with (
        svcd.local(Chat, replace={"Llm": "http://x"}) as app,
        pytest.raises(svcd.ServiceUnavailable, match="Extra is stopped"),
    ):
        app.url(name="extra")


def test_the_replicas_take_turns() -> None:
    urls = Urls("Llm")
    urls.update("ready", None, ["a", "b", "c"])
    turns = [urls() for _ in range(6)]
    assert sorted(turns[:3]) == sorted(turns[3:]) == ["a", "b", "c"]
    urls.update("ready", None, ["b"])
    assert [urls(), urls()] == ["b", "b"]
    assert repr(urls) == "<Urls Llm ready [b]>"


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("starting", None, "Llm is starting"),
        ("failed", "Llm/0: 5 failures in a row", "Llm is failed: Llm/0: 5 failures in a row"),
        ("ready", None, "Llm has no URL: it takes no connections that svcd knows of"),
        ("done", "Llm/0: exited with status 0", "Llm has no URL"),
    ],
)
def test_without_any_the_reason_is_told(state: str, reason: str | None, told: str) -> None:
    urls = Urls("Llm")
    urls.update(state, reason, [])
    for _ in itertools.repeat(None, 2):
        with pytest.raises(svcd.ServiceUnavailable, match=re.escape(told)):
            urls()
