"""Every error that svcd has for its users: it is in docs/errors.md with cause and cure, and something provokes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import svcd
from running import RunningApp, write_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs" / "errors.md").read_text()
NAMED = {name: getattr(svcd, name) for name in svcd.__all__}
PUBLIC = {
    name: kind
    for name, kind in NAMED.items()
    if isinstance(kind, type) and issubclass(kind, BaseException) and kind is not svcd.CallError
}

SERVICE = """
    import os

    import trio

    import svcd


    @svcd.service(traffic={"max_concurrency": 1, "max_queue": 0})
    class Narrow:
        @svcd.api
        async def hold(self) -> None:
            await trio.sleep(60)


    @svcd.service
    class Doomed:
        @svcd.api
        async def end(self) -> None:
            os._exit(3)

        @svcd.api
        async def take(self, text: str, few: str) -> None:
            pass


    @svcd.service
    class Idle:
        @svcd.api
        async def wait(self) -> None:
            await trio.sleep(60)


    @svcd.service
    class Top:
        narrow = svcd.depends(Narrow)
        doomed = svcd.depends(Doomed)
        idle = svcd.depends(Idle, timeout=0.1)

        @svcd.api
        async def crowd(self) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(self.narrow.hold)
                await trio.sleep(0.3)  # one runs, and others wait for their second try
                await self.narrow.hold()

        @svcd.api
        async def lose(self) -> None:
            await self.doomed.end()

        @svcd.api
        async def pass_too_much(self) -> None:
            await self.doomed.take(few="few", text="x" * 2**26)  # a frame's limit, with the envelope to come

        @svcd.api
        async def wait(self, seconds: float) -> None:
            await trio.sleep(seconds)

        @svcd.api
        async def wait_in_vain(self) -> None:
            await self.idle.wait()

        @svcd.api
        async def fail(self) -> None:
            raise ValueError("no")

        @svcd.api
        async def bad(self) -> list[int]:
            return {1, 2}
"""
PROVOKED: dict[str, Callable[[svcd.Client], Any]] = {
    "InvalidArgument": lambda client: client.call("wait", seconds="long"),
    "Overloaded": lambda client: client.call("crowd"),
    "ReplicaLost": lambda client: client.call("lose"),
    "DeadlineExceeded": lambda client: client.call("wait_in_vain"),
    "RemoteError": lambda client: client.call("fail"),
    "BadResult": lambda client: client.call("bad"),
    "UnknownApi": lambda client: client.call("wiat"),
    "EncodeError": lambda client: client.call("wait", seconds={1}),
    "ServiceUnavailable": lambda _: svcd.Client("http://127.0.0.1:1", retries=0).call("wait", seconds=0),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[svcd.Client]:
    folder = write_app(tmp_path_factory.mktemp("errors"), SERVICE, entry="Top")
    with RunningApp(folder) as app, svcd.Client(app.up().url) as client:
        yield client


@pytest.mark.parametrize("name", PUBLIC)
def test_the_document_has_its_cause_and_its_cure(name: str) -> None:
    section = DOCUMENT.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert "**Cause**" in section
    assert "**Cure**" in section
    if issubclass(PUBLIC[name], svcd.CallError):
        row = rf"^\| \[`{name}`\].*\| `{PUBLIC[name].code}` \|"
        assert re.search(row, DOCUMENT, re.MULTILINE), "a row in the table"


def test_the_document_has_no_other() -> None:
    assert set(re.findall(r"^## (\w+)$", DOCUMENT, re.MULTILINE)) == PUBLIC.keys()


@pytest.mark.parametrize("name", PROVOKED)
def test_it_can_be_provoked(client: svcd.Client, name: str) -> None:
    with pytest.raises(PUBLIC[name]) as caught:
        PROVOKED[name](client)
    assert type(caught.value) is PUBLIC[name]


def test_an_argument_beyond_the_limit_of_a_frame_is_an_invalid_one(client: svcd.Client) -> None:
    with pytest.raises(svcd.InvalidArgument, match="the limit of a frame is 67108864; send it in pieces") as caught:
        client.call("pass_too_much")
    assert [detail["field"] for detail in caught.value.details] == ["text"]


@pytest.mark.parametrize("name", PUBLIC.keys() - PROVOKED.keys())
def test_some_other_test_provokes_it(name: str) -> None:
    raises = re.compile(rf"raises\(\(?(svcd\.|\w+\.|[\w., ]+, )?{name}\b|except (svcd\.)?{name}\b|== .*\b{name}\b")
    here = Path(__file__)
    assert any(raises.search(path.read_text()) for path in (ROOT / "tests").rglob("*.py") if path != here)
