"""Other origins, over real requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcd.values.specs import Cors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from http_client import Http
    from scripted_ingress import Running

PAGE = "https://page.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}


async def test_answers_errors_and_pages_have_the_headers(run: Callable[..., Awaitable[Running]]) -> None:
    ingress = await run(cors=Cors(origins=(PAGE,)))
    async with await ingress.connect() as http:
        for method, path in (("POST", "/echo"), ("POST", "/nope"), ("GET", "/docs.json")):
            response = await http.request(method, path, headers={"origin": PAGE})
            assert response.headers["access-control-allow-origin"] == PAGE
            assert "traceparent" in response.headers["access-control-expose-headers"]
            assert "access-control-allow-origin" not in (await http.request(method, path)).headers


async def test_a_preflight_is_answered_without_the_entry(run: Callable[..., Awaitable[Running]]) -> None:
    ingress = await run(cors=Cors(origins=(PAGE,)), ready=False)
    async with await ingress.connect() as http:
        response = await http.request("OPTIONS", "/echo", headers=PREFLIGHT)
        assert (response.status, response.body) == (204, b"")
        assert response.headers["access-control-allow-methods"] == "GET, HEAD, POST"
        assert response.headers["access-control-allow-headers"] == "content-type"
        stranger = await http.request("OPTIONS", "/echo", headers=PREFLIGHT | {"origin": "https://stranger.example"})
        assert "access-control-allow-origin" not in stranger.headers
    assert ingress.entry.schema_questions == 0


async def test_without_configuration_there_is_no_cors(http: Http) -> None:
    response = await http.request("OPTIONS", "/echo", headers=PREFLIGHT)
    assert (response.status, response.headers["allow"]) == (204, "POST, OPTIONS")
    assert not [name for name in response.headers if name.startswith("access-control")]
