"""The pages that are read with GET."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from http_client import Http
    from scripted_ingress import Running

PAGES = ["/", "/livez", "/readyz", "/healthz", "/schema.json", "/docs.json"]


async def test_a_ready_app(http: Http) -> None:
    assert (await http.get("/livez")).body == b"alive\n"
    assert (await http.get("/readyz")).body == b"ready\n"
    assert (await http.get("/healthz")).json() == {
        "live": True,
        "ready": True,
        "reason": "",
        "entry": "Mood",
        "replicas": 1,
    }


async def test_an_app_that_starts_is_alive_but_not_ready(run: Callable[..., Awaitable[Running]]) -> None:
    ingress = await run(ready=False)
    async with await ingress.connect() as http:
        assert (await http.get("/livez")).status == 200
        ready = await http.get("/readyz")
        assert (ready.status, ready.body) == (503, b"Mood is starting\n")
        health = await http.get("/healthz")
        assert (health.status, health.json()["reason"]) == (503, "Mood is starting")
        assert (await http.get("/")).status == 200
        ingress.route("failed", reason="ImportError: no torch", ready=False)
        assert (await http.get("/readyz")).body == b"Mood is failed: ImportError: no torch\n"
        assert (await http.get("/schema.json")).status == 503


async def test_the_index_lists_the_apis(http: Http) -> None:
    assert "POST /echo    Do echo.\n" in (await http.get("/")).body.decode()


async def test_the_schema_is_the_entry_s(http: Http) -> None:
    response = await http.get("/schema.json")
    assert response.headers["content-type"] == "application/json"
    apis = {"echo": {"doc": "Do echo.\nMore.", "is_stream": False}}
    assert response.json() == {"service": "Mood", "apis": apis, "mounts": []}


@pytest.mark.parametrize("path", PAGES)
async def test_head_is_get_without_the_body(http: Http, path: str) -> None:
    got = await http.get(path)
    head = await http.request("HEAD", path)
    assert (head.status, head.body) == (got.status, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_read_only(http: Http, path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        response = await http.request(method, path)
        assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_stopping_ingress_is_not_ready(ingress: Running, http: Http) -> None:
    ingress.face.is_stopping = True
    response = await http.get("/readyz")
    assert (response.status, response.body) == (503, b"the ingress is stopping\n")
    assert (await http.post("/echo", b"still answered")).body == b"still answered"
