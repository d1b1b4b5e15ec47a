"""Tasks as svcd.Client and svcd.AsyncClient have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from task_app import runs

import svcd
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from running import RunningApp


@pytest.fixture
def client(work: RunningApp) -> Iterator[svcd.Client]:
    with svcd.Client(work.url, timeout=30) as client:
        yield client


def test_a_task_is_submitted_and_its_result_fetched(client: svcd.Client) -> None:
    task = client.double.submit(x=np.arange(3))
    assert task.get().tolist() == [0, 2, 4]
    assert task.get_status() is svcd.TaskStatus.SUCCESS
    assert task.info()["attempts"] == 1
    again = client.double.task(task.id)
    assert again.get(timeout=0).dtype == np.arange(3).dtype
    assert task.retry().get().tolist() == [0, 2, 4]
    assert client.double(x=np.arange(2)).tolist() == [0, 2], "and called as ever"


async def test_the_same_awaited(work: RunningApp) -> None:
    async with svcd.AsyncClient(work.url, timeout=30) as client:
        task = await client.again.submit(key="async")
        assert await task.get() == {"key": "async"}
        assert await task.get_status() == "success"
        assert (await client.again.task(task.id).info())["status"] == "success"
        assert await (await task.retry()).get() == {"key": "async"}
        running = await client.once.submit(key="async-long", seconds=600)
        with pytest.raises(svcd.TaskNotDone):
            await running.get(timeout=0.1)
        assert await running.cancel() is svcd.TaskStatus.CANCELLED
        with pytest.raises(svcd.TaskCancelled):
            await running.get()


def test_what_becomes_of_a_task_is_raised_as_a_call_would_raise_it(client: svcd.Client, work: RunningApp) -> None:
    with pytest.raises(svcd.InvalidArgument) as refused:
        client.once.submit(key=3)
    assert refused.value.details[0]["field"] == "key"
    with pytest.raises(svcd.RemoteError, match="error "):
        client.fail.submit(why="secret").get()
    with pytest.raises(svcd.DeadlineExceeded):
        client.limited.submit().get()
    with pytest.raises(svcd.UnknownTask, match="there never was one, or it has expired"):
        client.once.task("never-was-there").get()
    with pytest.raises(svcd.UnknownApi):
        client.plain.submit()
    task = client.once.submit(key="client-cancelled", seconds=600)
    wait_until(lambda: runs(work.folder)["client-cancelled"], "it to begin")
    with pytest.raises(svcd.TaskNotDone, match="in_progress"):
        task.get(timeout=0.1)
    with pytest.raises(svcd.TaskNotDone):
        task.retry()
    assert task.cancel() is svcd.TaskStatus.CANCELLED
    with pytest.raises(svcd.TaskCancelled):
        task.get()


def test_a_result_that_somebody_else_wanted_as_json_or_text_can_be_read(
    client: svcd.Client, http: httpx.Client
) -> None:
    as_json = http.post("/again/submit", json={"key": "j"}).json()["task_id"]
    assert client.again.task(as_json).get() == {"key": "j"}
    as_text = http.post("/once/submit", content="t", headers={"content-type": "text/plain"}).json()["task_id"]
    assert client.once.task(as_text).get() == "T"
    as_bytes = http.post("/picture/submit", content=b"ab", headers={"content-type": "image/png"}).json()["task_id"]
    assert client.picture.task(as_bytes).get() == b"ba"


def test_waiting_goes_on_longer_than_one_request_may(work: RunningApp) -> None:
    with svcd.Client(work.url, timeout=3) as client:
        assert client.once.submit(key="patient", seconds=4).get() == "PATIENT"
