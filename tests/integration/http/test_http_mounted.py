"""Applications of FastAPI and Starlette on the entry: they keep their docs, their dependencies and their manners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from http_app import printed, running_http_app
from running import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp
    from running import RunningApp

CHUNK = 1000


def test_fastapi_keeps_its_docs(http: httpx.Client) -> None:
    page = http.get("/web/docs")
    assert "url: '/web/openapi.json'" in page.text
    document = http.get("/web/openapi.json").json()
    assert document["info"]["title"] == "Mounted"
    assert document["servers"] == [{"url": "/web"}]


def test_fastapi_keeps_its_dependencies_and_reaches_the_service_s_own(http: httpx.Client) -> None:
    trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    response = http.get("/web/hello/robert", params={"most": 2}, headers={"traceparent": trace})
    told = response.json()
    assert told.pop("trace") == response.headers["traceparent"]
    assert response.headers["traceparent"].split("-")[1] == trace.split("-")[1]
    assert told == {"name": "ro", "words": 6, "state": "kept", "root": "/web"}
    assert http.get("/web/hello/robert", params={"most": "many"}).status_code == 422


def test_an_application_made_of_the_service_wins_where_its_path_is_longer(http: httpx.Client) -> None:
    assert http.get("/web/small/count", params={"text": "seven"}).text == "5"
    assert http.get("/web/small/nothing").status_code == 404


def test_every_method_body_and_query_comes_through(http: httpx.Client) -> None:
    for method in ("PUT", "POST", "DELETE"):
        body = b"x" * 300_000
        told = http.request(method, "/web/size?a=1&b=%20", content=body).json()
        assert told == {"method": method, "size": len(body), "query": {"a": "1", "b": " "}}
    assert http.post("/web/items", json={"name": "n", "price": 1}).json() == {"name": "n", "price": 1}
    head = http.head("/web/docs")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(http.get("/web/docs").content))
    assert http.options("/web/size").headers["allow"]
    assert http.get("/web").status_code == 404
    assert http.get("/webs").json()["error"]["code"] == "not_found"


def test_a_failing_endpoint_is_the_application_s_own_500(everything: RunningApp, http: httpx.Client) -> None:
    response = http.get("/web/boom")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    wait_until(lambda: "in the application" in everything.log("Everything.0"), "the traceback in the log")


def test_a_response_that_breaks_is_seen_to_be_broken(http: httpx.Client) -> None:
    with http.stream("GET", "/web/broken") as response:
        assert response.status_code == 200
        chunks = response.iter_raw()
        assert next(chunks) == b"one"
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)


def test_a_reader_that_is_slow_holds_the_application_up(http: httpx.Client) -> None:
    with http.stream("GET", "/web/numbers", params={"size": CHUNK * 10}) as response:
        chunks = response.iter_raw()
        next(chunks)
        sent = wait_until(lambda: _settled(http), "the application to be held up")
        assert sent * CHUNK * 10 < 40_000_000  # of a gigabyte: what pipes, windows and sockets hold


def _settled(http: httpx.Client) -> int:
    before, after = (int(http.get("/web/sent").text) for _ in range(2))
    return after if after == before > 0 else 0


def test_a_client_that_leaves_cancels_all_that_the_application_had_started(everything: RunningApp) -> None:
    began = printed(everything).count("words wait")
    with everything.connection() as connection:
        connection.request("GET", "/web/wait")
        wait_until(lambda: printed(everything).count("words wait") == began + 1, "the call below to run")
    wait_until(lambda: printed(everything).count("words are done") == began + 1, "the call below to be cancelled")
    wait_until(lambda: all(row["in_flight"] == 0 for row in everything.rows()), "no call in flight")


def test_background_tasks_run_after_the_response(everything: RunningApp, http: httpx.Client) -> None:
    assert http.get("/web/later").json() == "now"
    wait_until(lambda: "later is done" in printed(everything), "the background task")


def test_other_origins_are_the_ingress_s_matter(http: httpx.Client) -> None:
    headers = {"origin": "https://page.example", "access-control-request-method": "PUT"}
    assert http.options("/web/size", headers=headers).headers["access-control-allow-origin"] == "https://page.example"
    answer = http.get("/web/hello/x", headers={"origin": "https://page.example"})
    assert answer.headers["access-control-allow-origin"] == "https://page.example"


def test_the_lifespan_is_that_of_the_replica(tmp_path: Path) -> None:
    with running_http_app(tmp_path / "app", "Everything") as app:
        wait_until(lambda: "web up" in app.log("Everything.0"), "its begin in the log")
        assert "web down" not in app.log("Everything.0")
        app.svcd("down")
        assert "web down" in app.log("Everything.0")


ASYNCIO = """
    import asyncio
    from contextlib import asynccontextmanager
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse
    import svcd

    @asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(asyncio.sleep(3600))
        yield {"task": task}
        task.cancel()

    web = FastAPI(lifespan=lifespan)

    @web.get("/both")
    async def both(request: Request):
        words = request.state.service.words
        return await asyncio.gather(words.count(text="a"), words.count(text="bc"))

    @web.get("/stream")
    async def stream():
        async def numbers():
            for number in range(3):
                async with asyncio.timeout(5):
                    await asyncio.sleep(0.001)
                yield str(number)
        return StreamingResponse(numbers())

    @web.get("/wait")
    async def wait():
        print("waits", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            print("was cancelled", flush=True)

    @svcd.service
    class Words:
        @svcd.api
        async def count(self, text: str) -> int:
            return len(text)

    @svcd.service(async_backend="asyncio")
    @svcd.asgi_app(web)
    class Entry:
        words = svcd.depends(Words)
"""


def test_an_application_that_needs_asyncio_has_it(make_app: MakeApp) -> None:
    app = make_app(ASYNCIO, entry="Entry").up()
    with httpx.Client(base_url=app.url, timeout=30, trust_env=False) as client:
        assert client.get("/both").json() == [1, 2]
        assert client.get("/stream").text == "012"
        assert client.get("/livez").text == "alive\n"
        assert client.get("/").status_code == 404  # the application's own word: it has the root
    with app.connection() as connection:
        connection.request("GET", "/wait")
        wait_until(lambda: "waits" in app.log("Entry.0"), "the request to be there")
    wait_until(lambda: "was cancelled" in app.log("Entry.0"), "the task to be cancelled")
