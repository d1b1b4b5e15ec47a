"""Tasks as any HTTP client sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from task_app import runs

from running import wait_until

if TYPE_CHECKING:
    import httpx

    from running import RunningApp


def submit(http: httpx.Client, api: str, **args: Any) -> str:
    answer = http.post(f"/{api}/submit", json=args)
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["task_id"]
    return task_id


def about(http: httpx.Client, api: str, task_id: str, what: str = "status", **more: Any) -> httpx.Response:
    method = {"retry": "POST", "cancel": "PUT"}.get(what, "GET")
    return http.request(method, f"/{api}/{what}", params={"task_id": task_id, **more})


def test_a_task_is_accepted_run_and_its_result_fetched_as_the_api_would_give_it(
    work: RunningApp, http: httpx.Client
) -> None:
    accepted = http.post("/once/submit", json={"key": "a"})
    assert accepted.status_code == 202
    told = accepted.json()
    assert told["status"] == "queued"
    assert accepted.headers["location"] == f"/once/status?task_id={told['task_id']}"
    result = about(http, "once", told["task_id"], "get", wait=20)
    direct = http.post("/once", json={"key": "a"})
    assert (result.status_code, result.headers["content-type"], result.content) == (
        200,
        direct.headers["content-type"],
        direct.content,
    )
    status = about(http, "once", told["task_id"]).json()
    assert (status["status"], status["attempts"], status["error"]) == ("success", 1, None)
    assert status["created_at"] <= status["started_at"] <= status["executed_at"] < status["expires_at"]
    assert runs(work.folder)["a"] == 2


@pytest.mark.parametrize(
    ("api", "request_", "content_type", "body"),
    [
        (
            "picture",
            {"content": b"\x00abc", "headers": {"content-type": "image/png"}},
            "application/octet-stream",
            b"cba\0",
        ),
        ("picture", {"files": {"image": b"xyz"}}, "application/octet-stream", b"zyx"),
        ("once", {"content": "text", "headers": {"content-type": "text/plain"}}, "text/plain; charset=utf-8", b"TEXT"),
        (
            "double",
            {"json": {"x": [1, 2]}, "headers": {"accept": "application/json"}},
            "application/json",
            b"[2,4]",
        ),
    ],
    ids=["a raw body", "a form", "a text", "json"],
)
def test_inputs_and_results_have_every_form_that_an_api_takes(
    http: httpx.Client, api: str, request_: dict[str, Any], content_type: str, body: bytes
) -> None:
    task_id = http.post(f"/{api}/submit", **request_).json()["task_id"]
    result = about(http, api, task_id, "get", wait=20)
    assert (result.status_code, result.headers["content-type"], result.content) == (200, content_type, body)


def test_the_form_of_a_result_is_that_which_the_submitter_accepts(http: httpx.Client) -> None:
    headers = {"accept": "application/msgpack"}
    task_id = http.post("/again/submit", json={"key": "m"}, headers=headers).json()["task_id"]
    result = about(http, "again", task_id, "get", wait=20)
    assert msgpack.unpackb(result.content) == {"key": "m"}
    only_json = http.get("/again/get", params={"task_id": task_id}, headers={"accept": "application/json"})
    assert only_json.status_code == 406
    assert only_json.json()["error"]["offers"] == ["application/msgpack"]
    assert http.post("/again/submit", json={"key": "m"}, headers={"accept": "image/png"}).status_code == 406


def test_what_the_api_does_not_take_is_refused_at_once_and_nothing_is_kept(
    work: RunningApp, http: httpx.Client
) -> None:
    before = work.row("ingress")["queued"]
    answer = http.post("/once/submit", json={"key": 3})
    assert answer.status_code == 400
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == ["key"]
    assert http.post("/once/submit", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert work.row("ingress")["queued"] == before
    assert "3" not in runs(work.folder)


def test_an_id_is_accepted_once(work: RunningApp, http: httpx.Client) -> None:
    for _ in range(3):
        answer = http.post("/once/submit", json={"key": "same"}, params={"task_id": "chosen-by-me"})
        assert (answer.status_code, answer.json()["task_id"]) == (202, "chosen-by-me")
    assert about(http, "once", "chosen-by-me", "get", wait=20).status_code == 200
    assert runs(work.folder)["same"] == 1
    taken = http.post("/again/submit", json={"key": "x"}, params={"task_id": "chosen-by-me"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "task_exists")
    assert http.post("/once/submit", json={"key": "x"}, params={"task_id": "no spaces"}).status_code == 400


def test_a_task_that_raises_is_told_as_a_call_would_be_and_the_log_has_the_rest(
    work: RunningApp, http: httpx.Client
) -> None:
    task_id = submit(http, "fail", why="secret")
    answer = about(http, "fail", task_id, "get", wait=20)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "remote")
    error_id = answer.json()["error"]["id"]
    assert "secret" not in answer.text
    wait_until(lambda: f"error {error_id}: " in work.log("ingress"), "the error in the log")
    wait_until(lambda: "ValueError: secret" in work.log("ingress"), "its traceback in the log")
    status = about(http, "fail", task_id).json()
    assert (status["status"], status["error"]["id"]) == ("failure", error_id)
    again = about(http, "fail", task_id, "get")
    assert again.json() == answer.json(), "and always the same"
    argument = about(http, "fail", submit(http, "fail", why="argument"), "get", wait=20)
    assert (argument.status_code, argument.json()["error"]["details"]) == (400, [{"field": "why", "message": "no"}])


def test_cancelling_ends_a_task_that_runs(work: RunningApp, http: httpx.Client) -> None:
    task_id = submit(http, "once", key="cancelled", seconds=600)
    wait_until(lambda: runs(work.folder)["cancelled"], "it to begin")
    not_yet = about(http, "once", task_id, "get")
    assert (not_yet.status_code, not_yet.json()["error"]["code"]) == (409, "not_done")
    assert not_yet.headers["retry-after"] == "1"
    assert about(http, "once", task_id, "cancel").json()["status"] == "cancelled"
    gone = about(http, "once", task_id, "get", wait=20)
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "cancelled")
    wait_until(lambda: work.row("Work")["in_flight"] == 0, "the call to end")
    assert not runs(work.folder, "end")["cancelled"]


def test_retrying_runs_the_same_input_as_a_task_of_its_own(work: RunningApp, http: httpx.Client) -> None:
    task_id = submit(http, "once", key="twice")
    about(http, "once", task_id, "get", wait=20)
    again = about(http, "once", task_id, "retry")
    assert (again.status_code, again.json()["retry_of"]) == (202, task_id)
    assert about(http, "once", again.json()["task_id"], "get", wait=20).status_code == 200
    assert runs(work.folder)["twice"] == 2
    running = submit(http, "once", key="runs", seconds=600)
    assert about(http, "once", running, "retry").json()["error"]["code"] == "not_done"
    about(http, "once", running, "cancel")


def test_tasks_have_a_time_of_their_own(work: RunningApp, http: httpx.Client) -> None:
    slow = submit(http, "once", key="slow", seconds=4.5)

    def is_cancelled() -> bool:
        late = about(http, "limited", submit(http, "limited"), "get", wait=20)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline")
        return (work.folder / "runs").exists() and "limited ended" in (work.folder / "runs").read_text()

    wait_until(is_cancelled, "a task to begin in its time, and to be cancelled")
    assert about(http, "once", slow, "get", wait=20).status_code == 200, "longer than traffic.timeout"


def test_the_replicas_admit_tasks_as_any_call_and_a_full_house_is_waited_for(http: httpx.Client) -> None:
    ids = [submit(http, "crowd", seconds=0.3) for _ in range(16)]
    results = [about(http, "crowd", task_id, "get", wait=20) for task_id in ids]
    assert {result.status_code for result in results} == {200}
    assert 1 < max(result.json() for result in results) <= 4, "max_concurrency"


def test_the_queue_is_bounded(work: RunningApp, http: httpx.Client) -> None:
    answers = []
    while not answers or answers[-1].status_code == 202:
        assert len(answers) <= 60
        answers.append(http.post("/once/submit", json={"key": f"full{len(answers)}", "seconds": 600}))
    assert (answers[-1].status_code, answers[-1].json()["error"]["code"]) == (429, "queue_full"), answers[-1].text
    assert answers[-1].headers["retry-after"] == "5"
    wait_until(lambda: work.row("ingress")["queued"] >= 40, "svcd ps to tell of them")
    for answer in answers[:-1]:
        about(http, "once", answer.json()["task_id"], "cancel")
    assert about(http, "once", submit(http, "once", key="after"), "get", wait=20).status_code == 200


def test_a_task_that_kills_its_replica_is_given_up_and_alone(work: RunningApp, http: httpx.Client) -> None:
    ids = [submit(http, "again", key=f"beside{number}", seconds=0.2) for number in range(5)]
    fatal = submit(http, "fatal", key="fatal")
    lost = about(http, "fatal", fatal, "get", wait=50)
    assert (lost.status_code, lost.json()["error"]["code"]) == (502, "lost")
    assert "was lost while the task may have been running" in lost.json()["error"]["message"]
    assert about(http, "fatal", fatal).json()["status"] == "lost"
    assert runs(work.folder)["fatal"] == 3, "retries is 2"
    for task_id in ids:
        assert about(http, "again", task_id, "get", wait=50).status_code == 200
    wait_until(lambda: work.row("Work")["state"] == "ready", "it to be back from the last death")


def test_a_task_is_also_an_api_here_and_for_other_services(http: httpx.Client) -> None:
    assert http.post("/through", json={"x": 1}).json() == 2
    assert about(http, "through", submit(http, "through", x=1), "get", wait=20).json() == 2


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/once/status?task_id=never-was-there", 404, "no_task"),
        ("GET", "/once/get?task_id=never-was-there", 404, "no_task"),
        ("PUT", "/once/cancel?task_id=never-was-there", 404, "no_task"),
        ("POST", "/once/retry?task_id=never-was-there", 404, "no_task"),
        ("GET", "/once/status", 400, "invalid"),
        ("GET", "/once/get?task_id=never-was-there&wait=soon", 400, "invalid"),
        ("GET", "/once/submit", 405, "method"),
        ("POST", "/once/cancel?task_id=x", 405, "method"),
        ("POST", "/plain/submit", 404, "not_found"),
        ("POST", "/once/other", 404, "not_found"),
        ("POST", "/help/submit", 404, "not_found"),
    ],
)
def test_wrong_questions(http: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_task_of_another_api_is_not_there(http: httpx.Client) -> None:
    task_id = submit(http, "once", key="mine")
    assert about(http, "again", task_id).status_code == 404


def test_the_app_says_which_apis_are_tasks(http: httpx.Client) -> None:
    apis = http.get("/schema.json").json()["apis"]
    assert apis["once"]["task"] == {"idempotent": False, "timeout": None, "retries": 0}
    assert apis["limited"]["task"] == {"idempotent": False, "timeout": 0.2, "retries": 0}
    assert apis["plain"]["task"] is None
    assert "POST /once/submit    to have it run in the background" in http.get("/").text


def test_svcd_check_says_where_tasks_are_kept(work: RunningApp) -> None:
    told = work.svcd("check").stdout
    tasks = "once, again, fatal, limited, crowd, fail, double, picture, through"
    assert f"Work's tasks {tasks} are kept in {work.state}/tasks.sqlite3" in told
    assert (work.state / "tasks.sqlite3").exists()
