"""What a request becomes at the entry, and what the entry's answer becomes for the client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from scripted_ingress import Hanging

from svcd_ipc.errors import (
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    Overloaded,
    ReplicaLost,
    ServiceUnavailable,
    UnknownApi,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from http_client import Http
    from scripted_ingress import Running

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_the_entry_gets_the_body_as_it_came(ingress: Running, http: Http) -> None:
    body = bytes(range(256))
    response = await http.post("/echo", body, content_type="image/png", accept="application/json")
    assert (response.status, response.headers["content-type"], response.body) == (200, "image/png", body)
    assert ingress.entry.calls[0].args == {
        "api": "echo",
        "body": body,
        "type": "image/png",
        "accept": "application/json",
    }


async def test_one_connection_serves_many_requests(ingress: Running, http: Http) -> None:
    for number in range(20):
        assert (await http.post("/echo", b"%d" % number)).body == b"%d" % number
    assert len(ingress.connections) == 1
    assert ingress.entry.schema_questions == 1


async def test_an_empty_body_is_a_body(http: Http) -> None:
    response = await http.post("/echo")
    assert (response.status, response.body) == (200, b"")


async def test_pipelined_requests_are_answered_in_order(ingress: Running) -> None:
    request = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n%d"
    async with await ingress.connect() as http:
        await http.stream.send_all(b"".join(request % number for number in range(5)))
        received = b""
        while received.count(b"HTTP/1.1 200") < 5 or received.endswith(b"\r\n"):
            received += await http.stream.receive_some()
    assert [response[-1:] for response in received.split(b"HTTP/1.1 200")[1:]] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_percent_encoded_path_is_the_same_path(http: Http) -> None:
    assert (await http.post("/%65cho", b"x")).body == b"x"


async def test_the_trace_goes_on_to_the_entry(ingress: Running, http: Http) -> None:
    response = await http.post("/echo", traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    trace = ingress.entry.calls[0].trace
    assert trace is not None
    assert trace.startswith(f"00-{TRACE}-")
    assert response.headers["traceparent"] == trace


async def test_a_multipart_form_arrives_as_a_map(ingress: Running, http: Http) -> None:
    async def show(args: dict[str, Any]) -> list[Any]:
        return ["text/plain", repr(sorted(args["form"].items())).encode()]

    ingress.entry.apis["show"] = show
    body = (
        b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n\x89PNG\r\n'
        b'--x\r\ncontent-disposition: form-data; name="lang"\r\n\r\nfr\r\n--x--\r\n'
    )
    response = await http.post("/show", body, content_type="multipart/form-data; boundary=x")
    assert response.body == b"[('image', b'\\x89PNG'), ('lang', 'fr')]"


async def test_json_sent_as_a_form_is_told_what_to_do(http: Http) -> None:
    response = await http.post("/echo", b'{"a": 1}', content_type="application/x-www-form-urlencoded")
    assert (response.status, response.error["code"]) == (415, "media_type")
    assert "--json" in response.error["message"]


async def test_a_compressed_body_is_refused(http: Http) -> None:
    assert (await http.post("/echo", b"...", content_encoding="gzip")).status == 415
    assert (await http.post("/echo", b"...", content_encoding="identity")).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("text: missing", [{"field": "text", "message": "missing"}]), 400),
        (Overloaded("full"), 429),
        (ReplicaLost("Words/0 was lost"), 502),
        (ServiceUnavailable("Words is failed"), 503),
        (DeadlineExceeded("too late"), 504),
        (UnknownApi("Words has no api 'x'"), 500),
        (ValueError("the patient is called Ada"), 500),
    ],
)
async def test_each_error_has_its_status(ingress: Running, http: Http, error: Exception, status: int) -> None:
    async def fail(_args: dict[str, Any]) -> None:
        raise error

    ingress.entry.apis["fail"] = fail
    response = await http.post("/fail")
    assert response.status == status
    assert response.error["code"] == (error.code if isinstance(error, CallError) else "remote")
    assert "Ada" not in response.body.decode()
    assert "Traceback" not in response.body.decode()
    assert (await http.post("/echo", b"on")).body == b"on"  # on the same connection


async def test_bad_input_names_the_field(ingress: Running, http: Http) -> None:
    details = [{"field": "text", "message": "Field required"}]

    async def fail(_args: dict[str, Any]) -> None:
        raise InvalidArgument("Mood.score: text: Field required", details)

    ingress.entry.apis["score"] = fail
    assert (await http.post("/score", b"{}")).error == {
        "code": "invalid",
        "message": "Mood.score: text: Field required",
        "details": details,
    }
    assert ingress.log == ""


async def test_a_failure_s_id_finds_the_remote_traceback_in_the_log(ingress: Running, http: Http) -> None:
    async def fail(_args: dict[str, Any]) -> None:
        raise ValueError("the patient is called Ada")

    ingress.entry.apis["fail"] = fail
    error_id = (await http.post("/fail")).error["id"]
    lines = ingress.log.splitlines()
    assert all(line.startswith(f"error {error_id}: ") for line in lines)
    assert lines[0].endswith("500 remote: POST /fail: ValueError: the patient is called Ada")
    assert any("raise ValueError" in line for line in lines)


async def test_a_path_cannot_forge_log_lines(ingress: Running, http: Http) -> None:
    async def fail(_args: dict[str, Any]) -> None:
        raise ReplicaLost("gone")

    ingress.entry.apis["a\nerror 0000: all is lost"] = fail
    assert (await http.post("/a%0aerror%200000:%20all%20is%20lost")).status == 502
    assert len(ingress.log.splitlines()) == 1


async def test_an_answer_that_is_none_is_the_app_s_failure(ingress: Running, http: Http) -> None:
    async def odd(_args: dict[str, Any]) -> int:
        return 7

    ingress.entry.apis["odd"] = odd
    response = await http.post("/odd")
    assert (response.status, response.error["code"]) == (500, "internal")
    assert response.error["id"] in ingress.log


async def test_an_unknown_path_names_those_that_are_there(ingress: Running, http: Http) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = await http.request(method, "/scroe")
        assert (response.status, response.error["apis"]) == (404, ["echo"])
        assert "/echo" in response.error["message"]
    assert ingress.entry.calls == []


@pytest.mark.parametrize("path", ["/svcd.http", "/svcd.schema", "/echo/", "//echo", "/", "/echo%00", "/../echo", "*"])
async def test_nothing_but_the_apis_can_be_called(ingress: Running, http: Http, path: str) -> None:
    assert (await http.request("POST", path)).status in (404, 405)
    assert ingress.entry.calls == []


async def test_an_api_is_called_with_post_only(http: Http) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        response = await http.request(method, "/echo")
        assert (response.status, response.headers["allow"]) == (405, "POST, OPTIONS")


async def test_options_tells_the_methods_there_are(http: Http) -> None:
    for path, allow in (
        ("/echo", "POST, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ):
        response = await http.request("OPTIONS", path)
        assert (response.status, response.headers["allow"], response.body) == (204, allow, b"")
    assert (await http.request("OPTIONS", "/nope")).status == 404


async def test_a_call_past_its_deadline_is_504(run: Callable[..., Awaitable[Running]]) -> None:
    ingress = await run(seconds=0.05)
    cancelled = trio.Event()

    async def sleep(_args: dict[str, Any]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    ingress.entry.apis["sleep"] = sleep
    async with await ingress.connect() as http:
        response = await http.post("/sleep")
    assert (response.status, response.error["code"]) == (504, "deadline")
    await cancelled.wait()


async def test_calls_wait_for_an_entry_that_is_starting(
    run: Callable[..., Awaitable[Running]], nursery: trio.Nursery
) -> None:
    ingress = await run(ready=False)
    answers: list[bytes] = []

    async def ask() -> None:
        async with await ingress.connect() as http:
            answers.append((await http.post("/echo", b"here")).body)

    async with trio.open_nursery() as asking:
        for _ in range(4):
            asking.start_soon(ask)
        while ingress.client.route("Mood").waiting < 4:
            await trio.lowlevel.checkpoint()
        ingress.route("ready")
    assert answers == [b"here"] * 4
    assert ingress.entry.schema_questions == 1


async def test_more_waiting_calls_than_the_room_holds_are_429(run: Callable[..., Awaitable[Running]]) -> None:
    ingress = await run(ready=False, max_queue=1)
    async with await ingress.connect() as first, await ingress.connect() as second, trio.open_nursery() as asking:
        asking.start_soon(first.post, "/echo")
        while not ingress.client.route("Mood").waiting:
            await trio.lowlevel.checkpoint()
        response = await second.post("/echo")
        assert (response.status, response.headers["retry-after"]) == (429, "1")
        ingress.route("ready")


async def test_a_failed_entry_is_503_with_its_reason(ingress: Running, http: Http) -> None:
    ingress.route("failed", reason="MemoryError in __init__", ready=False)
    response = await http.post("/echo")
    assert (response.status, response.headers["retry-after"]) == (503, "2")
    assert "MemoryError in __init__" in response.error["message"]
    assert ingress.log.startswith("503 unavailable: POST /echo: ")


async def test_a_lost_replica_is_502_at_once(ingress: Running, http: Http, nursery: trio.Nursery) -> None:
    ingress.entry.apis["hang"] = hang = Hanging()
    answers = []

    async def ask() -> None:
        answers.append(await http.post("/hang"))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await hang.started.wait()
        (replica,) = ingress.client.route("Mood").replicas.values()
        assert replica.channel is not None
        replica.channel.close()
    assert [(answer.status, answer.error["code"]) for answer in answers] == [(502, "lost")]
    assert "retry-after" not in answers[0].headers


async def test_the_apis_are_asked_for_again_when_replicas_change(ingress: Running, http: Http) -> None:
    assert (await http.post("/echo", b"1")).status == 200
    assert (await http.post("/shout")).status == 404

    async def shout(args: dict[str, Any]) -> list[Any]:
        return ["text/plain", args["body"].upper()]

    ingress.entry.apis["shout"] = shout
    ingress.replicas[0][1] = ingress.replicas[0][1].replace("entry.sock", "./entry.sock")  # as of another process
    ingress.route("ready")
    await ingress.face.learn_news()
    assert (await http.post("/shout", b"a")).body == b"A"


async def test_a_json_error_ends_with_a_newline_for_people_with_curl(http: Http) -> None:
    response = await http.get("/nope")
    assert response.headers["content-type"] == "application/json"
    assert response.body.endswith(b"}\n")
    assert json.loads(response.body).keys() == {"error"}
