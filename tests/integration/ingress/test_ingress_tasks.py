"""Which task answers: the one that has read the request, as long as neither has to wait for the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from svcd.ingress import watch

if TYPE_CHECKING:
    from http_client import Http
    from scripted_ingress import Running

LIMIT = 10.0
POST = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"


class Tasks(trio.abc.Instrument):
    """Counts the tasks of the loop."""

    def __init__(self) -> None:
        self.spawned = self.alive = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        del task
        self.spawned += 1
        self.alive += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        del task
        self.alive -= 1


async def ask(http: Http) -> None:
    """Send a request in one piece, and read its answer."""
    await http.stream.send_all(POST)
    answer = b""
    while not answer.endswith(b"\r\n\r\nabc"):
        answer += await http.stream.receive_some()


async def test_small_requests_have_no_task_of_their_own(
    ingress: Running, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TICK", 60.0)  # nothing lasts so long that its client is looked after
    for _ in range(3):
        await ask(http)
    tasks = Tasks()
    trio.lowlevel.add_instrument(tasks)
    for _ in range(20):
        await ask(http)
    trio.lowlevel.remove_instrument(tasks)
    assert tasks.spawned == 0
    assert len(ingress.connections) == 1


async def test_requests_that_last_leave_no_tasks_behind(
    ingress: Running, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TICK", 0.001)

    async def last(args: dict[str, object]) -> list[object]:
        await trio.sleep(0.02)
        return ["text/plain", args["body"]]

    ingress.entry.apis["echo"] = last
    await ask(http)
    tasks = Tasks()
    trio.lowlevel.add_instrument(tasks)
    for _ in range(10):
        await ask(http)
    assert tasks.spawned >= 10  # another one reads meanwhile
    with trio.fail_after(LIMIT):
        while tasks.alive > 0:  # noqa: ASYNC110 - the instrument sets no event
            await trio.sleep(0.001)
    trio.lowlevel.remove_instrument(tasks)


async def test_a_body_in_more_pieces_than_may_wait_is_taken(ingress: Running) -> None:
    async with await ingress.connect() as http:
        pieces = b"".join(b"1\r\n%c\r\n" % number for number in range(65, 65 + 26))
        head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        await http.stream.send_all(head + pieces + b"0\r\n\r\n")
        answer = b""
        while not answer.endswith(b"XYZ"):
            answer += await http.stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_", [POST.replace(b"HTTP/1.1", b"HTTP/1.0"), POST.replace(b"host", b"connection: close\r\nhost")]
)
async def test_the_last_request_of_a_connection_is_answered_before_it_ends(ingress: Running, request_: bytes) -> None:
    async with await ingress.connect() as http:
        await http.stream.send_all(request_)
        answer = b""
        while data := await http.stream.receive_some():
            answer += data
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nabc")
    with trio.fail_after(LIMIT):
        while len(ingress.connections):  # noqa: ASYNC110 - nobody tells when it has gone
            await trio.sleep(0.001)
    assert ingress.log == ""


async def test_a_client_that_has_ended_its_half_is_answered(ingress: Running) -> None:
    async with await ingress.connect() as http:
        await http.stream.send_all(POST)
        await http.stream.send_eof()
        answer = b""
        while data := await http.stream.receive_some():
            answer += data
        assert answer.endswith(b"\r\n\r\nabc")
