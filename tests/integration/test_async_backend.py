"""`async_backend` of an app and of its services, seen in what runs their code under `svcd up`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

SERVICE = """
import asyncio
import sniffio
import svcd

class Told:
    @svcd.api
    async def library(self) -> str:
        return sniffio.current_async_library()

@svcd.service
class Plain(Told): ...

@svcd.service(async_backend="asyncio")
class Decorated(Told): ...

@svcd.service
class Entry(Told):
    plain = svcd.depends(Plain)
    decorated = svcd.depends(Decorated)

    @svcd.on_startup
    async def open(self) -> None:
        self.background = asyncio.create_task(asyncio.sleep(3600))

    @svcd.on_shutdown
    async def close(self) -> None:
        print("closed on", sniffio.current_async_library(), flush=True)

    @svcd.api
    async def libraries(self) -> list[str]:
        return [await self.library(), *await asyncio.gather(self.plain.library(), self.decorated.library())]

    @svcd.api
    async def stuck(self) -> None:
        while True:
            await asyncio.sleep(0)
"""
TOML = """
async_backend = "asyncio"

[services.Plain]
async_backend = "trio"
"""


def test_the_app_says_it_for_all_and_a_service_for_itself(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up()
    assert app.post("libraries") == (200, ["asyncio", "trio", "asyncio"])
    assert app.svcd("config", "--explain").stdout.count("asyncio") >= 2
    app.svcd("down")
    assert "closed on asyncio" in app.log("Entry.0")


def test_without_a_word_it_is_trio(make_app: MakeApp) -> None:
    service = SERVICE.replace("asyncio.create_task(asyncio.sleep(3600))", "None")
    app = make_app(service, entry="Plain").up()
    assert app.post("library") == (200, b"trio")


def test_a_caller_who_leaves_cancels_it(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up()
    with app.connection() as connection:
        connection.request("POST", "/stuck", b"{}", {"Content-Type": "application/json"})
        wait_until(lambda: app.row("Entry")["in_flight"] == 1, "the call to run")
    wait_until(lambda: app.row("Entry")["in_flight"] == 0, "the call to be cancelled")
    assert app.post("library") == (200, b"asyncio")
