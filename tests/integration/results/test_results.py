"""A result is the same, or the same BadResult, for every caller: in one process, of another service, over HTTP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from result_services import RESULTS, Source, Top

import svcd
from running import RunningApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svcd.worker.local import LocalApp

    Ask = Callable[[str, dict[str, Any]], Any]
    """Calls an api; returns its result in plain values, a stream as a list, or raises."""

RIGHT = {
    "right_int": 3,
    "numpy_int": 3,
    "int_for_float": 2,
    "right_list": [1, 2],
    "right_point": {"x": 4},
    "map_for_box": {"points": [{"x": 1}]},
    "right_mood": "good",
    "right_choice": "a",
    "nothing": None,
}
NOT_IN_JSON = ("nan", "nan_inside", "nan_in_array")
WRONG = [name for name in RESULTS if name not in RIGHT and name not in NOT_IN_JSON]


def plain(value: Any) -> Any:
    """What a value is on the wire."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    for name in ("tolist", "model_dump"):
        if hasattr(value, name):
            return getattr(value, name)()
    return value.value if hasattr(value, "value") else vars(value)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(Path(__file__).with_name("result_services.py"), folder)
    (folder / "svcd.toml").write_text('[app]\nservice = "result_services:Top"\nhttp = "127.0.0.1:0"\n')
    with RunningApp(folder) as app:
        yield app.up()


@pytest.fixture(scope="module")
def local() -> Iterator[LocalApp]:
    with svcd.local(Top) as app:
        yield app


def from_another(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise getattr(svcd, answer["error"])(answer["message"])
    return answer["result"] if "result" in answer else answer["items"]


def listed(value: Any) -> Any:
    return list(value) if hasattr(value, "__next__") else value


@pytest.fixture(params=["locally", "of a service, locally", "of a service", "HTTP, JSON", "HTTP, msgpack"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if "locally" in request.param:
        local = request.getfixturevalue("local")
        if request.param == "locally":
            return lambda api, args: plain(listed(getattr(local[Source], api)(**args)))
        return lambda api, args: from_another(plain(local.of_source(api=api, args=args)))
    app: RunningApp = request.getfixturevalue("app")

    def of_a_service(api: str, args: dict[str, Any]) -> Any:
        return from_another(json_of(app, "of_source", {"api": api, "args": args}))

    def through_the_client(api: str, args: dict[str, Any]) -> Any:
        with svcd.Client(app.url) as client:
            return plain(listed(client.call(api, **args)))

    return {
        "of a service": of_a_service,
        "HTTP, JSON": lambda api, args: json_of(app, api, args),
        "HTTP, msgpack": through_the_client,
    }[request.param]


def json_of(app: RunningApp, api: str, args: dict[str, Any]) -> Any:
    status, answer = app.post(api, args)
    if status == 200:
        return answer if not isinstance(answer, bytes) else answer.decode()
    assert (status, answer["error"]["code"]) == (500, "bad_result"), answer
    raise svcd.BadResult(answer["error"]["message"])


@pytest.mark.parametrize("api", RIGHT)
def test_a_right_result_is_the_same_everywhere(api: str, ask: Ask) -> None:
    assert ask(api, {}) == RIGHT[api]


@pytest.mark.parametrize("api", WRONG)
def test_a_wrong_result_is_a_bad_result_everywhere(api: str, ask: Ask) -> None:
    with pytest.raises(svcd.BadResult, match=rf"\.{api}"):
        ask(api, {})


def test_wrong_rows_are_a_bad_result_everywhere(ask: Ask) -> None:
    with pytest.raises(svcd.BadResult, match=r"rows returned a numpy\.ndarray, where its annotation says list\[str\]"):
        ask("rows", {"x": [1, 2]})


@pytest.mark.parametrize(
    ("api", "last"), [("items", "text_for_int"), ("items", "huge_int"), ("items_plainly", "text_inside_point")]
)
def test_a_wrong_item_ends_its_stream(app: RunningApp, local: LocalApp, api: str, last: str) -> None:
    told = app.post("of_source", {"api": api, "args": {"last": last}})[1]
    for answer in (told, local.of_source(api=api, args={"last": last})):
        assert (answer["error"], len(answer["items"])) == ("BadResult", 1)
        assert f".{api}" in answer["message"]
    items: list[Any] = []
    with svcd.Client(app.url) as client, pytest.raises(svcd.BadResult, match=api):
        items.extend(client.call(api, last=last))
    assert len(items) == 1
    assert api in app.svcd("call", f"Source.{api}", json.dumps({"last": last}), code=1).stderr


@pytest.mark.parametrize("api", NOT_IN_JSON)
def test_nan_travels_but_has_no_json_form(app: RunningApp, local: LocalApp, api: str) -> None:
    assert "NaN" in json.dumps(getattr(local, api)(), default=_plain).replace("Infinity", "NaN")
    with svcd.Client(app.url) as client:
        assert "NaN" in json.dumps(client.call(api), default=_plain).replace("Infinity", "NaN")
    with pytest.raises(svcd.BadResult, match=r"has no JSON form: result[^ ]*: NaN"):
        json_of(app, api, {})
    assert "no JSON form" in app.svcd("call", f"Source.{api}", code=1).stderr
