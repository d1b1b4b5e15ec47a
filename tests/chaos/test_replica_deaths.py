"""`kill -9` of one process during a steady stream of requests: typed errors at once or none, and it is back."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from steady_stream import SteadyStream

from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MakeApp
    from running import RunningApp

PIPELINE = """
    import svcd
    import trio

    @svcd.service
    class Features:
        @svcd.api
        async def extract(self, x: int) -> int:
            return x

    @svcd.service
    class Classifier:
        features = svcd.depends(Features)

        @svcd.api
        async def classify(self, x: int) -> int:
            await trio.sleep(0.2)  # most of a call, also on a busy machine: a kill hits some
            return await self.features.extract(x=x)

        @svcd.api(idempotent=True)
        async def score(self, x: int) -> int:
            await trio.sleep(0.02)
            return await self.features.extract(x=x)

        @svcd.api
        async def linger(self) -> None:
            await trio.sleep_forever()

    @svcd.service
    class Other:
        @svcd.api
        async def ping(self, x: int) -> int:
            return x

    @svcd.service
    class Pipeline:
        classifier = svcd.depends(Classifier, retries=1)
        other = svcd.depends(Other)

        @svcd.api
        async def classify(self, x: int) -> int:
            return await self.classifier.classify(x=x)

        @svcd.api
        async def score(self, x: int) -> int:
            return await self.classifier.score(x=x)

        @svcd.api
        async def linger(self) -> None:
            await self.classifier.linger()

        @svcd.api
        async def careful(self, x: int) -> int:
            try:
                return await self.classifier.classify(x=x)
            except svcd.ReplicaLost:
                return -1

        @svcd.api
        async def unconcerned(self, x: int) -> int:
            return await self.other.ping(x=x)
"""
TWO_CLASSIFIERS = "[services.Classifier]\nscaling = { min_replicas = 2, max_replicas = 2 }\n"


@pytest.fixture(scope="module")
def pipeline(share_app: MakeApp) -> RunningApp:
    return share_app(PIPELINE, entry="Pipeline").up()


@pytest.fixture
def app(pipeline: RunningApp) -> RunningApp:
    return settled(pipeline)


@pytest.fixture(scope="module")
def pipeline_of_two(share_app: MakeApp) -> RunningApp:
    return share_app(PIPELINE, TWO_CLASSIFIERS, entry="Pipeline").up()


def settled(app: RunningApp) -> RunningApp:
    """Return the app once it has got over what the last test did to it."""
    wait_until(lambda: {row["state"] for row in app.rows()} == {"ready"}, "all to be ready")
    wait_until(lambda: {(row["in_flight"], row["queued"]) for row in app.rows()} == {(0, 0)}, "all to be at rest")
    return app


def kill(app: RunningApp, service: str) -> float:
    """SIGKILL replica 0; return when."""
    os.kill(app.row(service)["pid"], signal.SIGKILL)
    return time.monotonic()


@contextmanager
def lingering_call(app: RunningApp) -> Iterator[Callable[[], tuple[int, str, str]]]:
    """Have a call in flight, down to the classifier; gives what waits for its end: status, code and message."""
    with app.connection() as connection:
        connection.request("POST", "/linger", b"{}", {"Content-Type": "application/json"})
        wait_until(lambda: app.row("Classifier")["in_flight"] == 1, "the call to be there")

        def ended() -> tuple[int, str, str]:
            answer = connection.getresponse()
            error = json.loads(answer.read())["error"]
            return answer.status, error["code"], error["message"]

        yield ended


def back(app: RunningApp, service: str, before: dict[str, Any]) -> bool:
    """Whether replica 0 is ready again, as another process."""
    row = app.row(service)
    return bool(row["state"] == "ready" and row["pid"] != before["pid"] and row["restarts"] == before["restarts"] + 1)


def untouched(app: RunningApp, but: str) -> dict[tuple[str, int], tuple[int, int]]:
    """Pid and restarts of every replica of the other services."""
    rows = [row for row in app.rows() if row["service"] != but]
    return {(row["service"], row["replica"]): (row["pid"], row["restarts"]) for row in rows}


def test_the_only_classifier_dies(app: RunningApp, measured: Callable[[str, float], None]) -> None:
    before, others = app.row("Classifier"), untouched(app, "Classifier")
    with (
        lingering_call(app) as lingering,
        SteadyStream(app.url, "classify") as stream,
        SteadyStream(app.url, "unconcerned", clients=1) as unconcerned,
    ):
        killed = kill(app, "Classifier")
        status, code, message = lingering()
        noticed = time.monotonic()
        assert (status, code) == (502, "lost")
        assert "Classifier/0" in message
        first = stream.wait_for(50, after=killed)[0]
        wait_until(lambda: back(app, "Classifier", before), "the classifier to be back")
    lost = [answer for answer in stream.answers if answer.status != 200]
    assert {(answer.status, answer.code) for answer in lost} <= {(502, "lost")}
    assert all(answer.asked <= noticed for answer in lost), "from then on calls wait for the next process"
    assert {answer.status for answer in unconcerned.answers} == {200}
    assert untouched(app, "Classifier") == others
    assert app.row("Classifier")["last_exit"] == "killed by SIGKILL"
    measured("kill -9 of a replica: calls in flight fail after", noticed - killed)
    measured("kill -9 of a replica: back and serving after", first.answered - killed)


@pytest.mark.parametrize("api", ["score", "careful"])
def test_one_of_two_classifiers_dies_and_no_client_sees_it(
    pipeline_of_two: RunningApp, measured: Callable[[str, float], None], api: str
) -> None:
    app = settled(pipeline_of_two)
    before, others = app.row("Classifier"), untouched(app, "Classifier")
    with SteadyStream(app.url, api) as stream:
        killed = kill(app, "Classifier")
        wait_until(lambda: back(app, "Classifier", before), "the classifier to be back")
        measured("kill -9 of one of two replicas: back after", time.monotonic() - killed)
        stream.wait_for(50, after=time.monotonic())
    assert {answer.status for answer in stream.answers} == {200}
    # score is sent again by itself; careful has an answer of its own for a call that was lost.
    assert {answer.body for answer in stream.answers} <= ({1} if api == "score" else {1, -1})
    assert untouched(app, "Classifier") == others
    assert app.row("Classifier", 1)["restarts"] == 0


def test_the_entry_dies(app: RunningApp, measured: Callable[[str, float], None]) -> None:
    before, others = app.row("Pipeline"), untouched(app, "Pipeline")
    with lingering_call(app) as lingering, SteadyStream(app.url, "classify") as stream:
        killed = kill(app, "Pipeline")
        assert lingering()[:2] == (502, "lost")
        first = stream.wait_for(50, after=killed)[0]
        wait_until(lambda: back(app, "Pipeline", before), "the entry to be back")
    assert {(answer.status, answer.code) for answer in stream.answers} <= {(200, None), (502, "lost")}
    assert untouched(app, "Pipeline") == others
    measured("kill -9 of the entry: back and serving after", first.answered - killed)


def test_the_ingress_dies_and_its_address_is_kept(app: RunningApp, measured: Callable[[str, float], None]) -> None:
    before, others = app.row("ingress"), untouched(app, "ingress")
    with SteadyStream(app.url, "classify") as stream:
        killed = kill(app, "ingress")
        first = stream.wait_for(50, after=killed)[0]
        wait_until(lambda: back(app, "ingress", before), "the ingress to be back")
    assert {answer.status for answer in stream.answers} == {200, 0}
    assert untouched(app, "ingress") == others
    measured("kill -9 of the ingress: back and serving after", first.answered - killed)


def test_a_replica_that_dies_again_and_again_is_given_up_and_its_callers_are_told(app: RunningApp) -> None:
    before = app.row("Features")
    for _ in range(5):
        wait_until(lambda: app.row("Features")["state"] == "ready", "Features to be back")
        pid = app.row("Features")["pid"]
        os.kill(pid, signal.SIGABRT)  # a SIGKILL would not count as its own fault
        # Not for another state: the next process may be ready before anybody has looked.
        wait_until(lambda pid=pid: app.row("Features")["pid"] != pid, "the death to be seen")
    wait_until(lambda: app.row("Features")["state"] == "failed", "Features to be given up")
    status, answer = app.post("classify", {"x": 1})
    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert "Features/0: 5 failures in a row; last: killed by SIGABRT" in answer["error"]["message"]
    assert app.post("unconcerned", {"x": 1}) == (200, 1)
    assert before["pid"] not in app.processes()
    app.svcd("restart", "Features")  # as it was, for the other tests
