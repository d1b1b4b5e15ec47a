"""Tasks under svcd.local: the same words and the same rules, in memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import trio
from pydantic import BaseModel

import svcd


class Box(BaseModel):
    width: int


class OwnError(Exception):
    """The app's own."""


@svcd.service
class Helper:
    @svcd.task
    async def add(self, x: int) -> int:
        return x + 1


@svcd.service(traffic={"max_concurrency": 2, "timeout": 0.2})
class Studio:
    helper = svcd.depends(Helper)

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.ended = threading.Event()

    @svcd.task
    async def wait(self, seconds: float) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await trio.sleep(seconds)
        finally:
            self.inside -= 1
            self.ended.set()
        return self.most

    @svcd.task(idempotent=True)
    def grow(self, box: Box, x: np.ndarray) -> Box:
        return Box(width=box.width + int(x.sum()))

    @svcd.task
    async def fail(self) -> None:
        raise OwnError("told")

    @svcd.task(timeout=0.05)
    async def limited(self) -> None:
        await trio.sleep_forever()

    @svcd.task
    async def through(self, x: int) -> int:
        return await self.helper.add(x=x)

    @svcd.task
    async def wrong(self) -> None:
        await self.helper.add.submit(x=1)

    @svcd.api
    async def plain(self) -> None:
        return None


def test_a_task_is_submitted_and_its_result_fetched() -> None:
    with svcd.local(Studio) as app:
        task = app.grow.submit(box={"width": 1}, x=np.arange(4))
        assert task.get() == Box(width=7)
        assert task.get_status() is svcd.TaskStatus.SUCCESS
        assert task.info()["attempts"] == 1
        assert task.retry().get() == Box(width=7)
        assert app.through.submit(1).get() == 2, "positional arguments too"
        assert app.through(x=1) == 2
        assert repr(task) == f"<task {task.id} of grow>"


async def test_the_same_awaited() -> None:
    async with svcd.local(Studio) as app:
        task = await app.grow.submit(box=Box(width=1), x=[1, 2])
        assert await task.get() == Box(width=4)
        assert await task.get_status() == "success"
        assert await (await task.retry()).get() == Box(width=4)
        running = await app.wait.submit(seconds=600)
        with pytest.raises(svcd.TaskNotDone):
            await running.get(timeout=0.01)
        assert await running.cancel() is svcd.TaskStatus.CANCELLED
        with pytest.raises(svcd.TaskCancelled):
            await running.get()


def test_what_becomes_of_a_task_is_raised_as_a_call_would_raise_it() -> None:
    with svcd.local(Studio) as app:
        with pytest.raises(svcd.InvalidArgument) as refused:
            app.grow.submit(box={"width": "wide"}, x=[1])
        assert refused.value.details[0]["field"] == "box.width"
        with pytest.raises(OwnError, match="told"):
            app.fail.submit().get()
        with pytest.raises(svcd.DeadlineExceeded):
            app.limited.submit().get()
        with pytest.raises(svcd.EncodeError, match="args"):
            app.wait.submit(seconds={1, 2})
        with pytest.raises(TypeError, match=r"Studio\.plain is no task: declare it with @svcd\.task, or call it"):
            app.plain.submit()
        with pytest.raises(svcd.RemoteError, match=r"helper\.add\.submit: tasks are submitted to the entry"):
            app.wrong.submit().get()
        with pytest.raises(TypeError, match=r"app\[Helper\]\.add\.submit: tasks are submitted to the entry"):
            app[Helper].add.submit(x=1)


def test_no_more_run_than_the_service_admits_and_none_has_the_time_of_a_call() -> None:
    with svcd.local(Studio) as app:
        tasks = [app.wait.submit(seconds=0.25) for _ in range(6)]
        assert max(task.get() for task in tasks) == 2


def test_what_runs_ends_with_the_app() -> None:
    with svcd.local(Studio) as app:
        app.wait.submit(seconds=600)
        instance = app._composition._members[f"{__name__}:Studio"].live.instance
        while not instance.inside:
            app.plain()
    assert instance.ended.is_set()
