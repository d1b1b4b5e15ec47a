"""Arguments out of forms."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import svcd
from svcd.app.schemas import schemas_of
from svcd_ipc.errors import InvalidArgument


class Mood(enum.Enum):
    GOOD = "good"
    ONE = "1"


class Box(BaseModel):
    width: int


@svcd.service
class Form:
    @svcd.api
    def texts(self, a: str, b: str | None = None, c: Any = None) -> None: ...

    @svcd.api
    def scalars(
        self,
        i: int = 0,
        f: float = 0,
        b: bool = False,
        d: dt.date | None = None,
        m: Mood = Mood.GOOD,
        k: Literal["1", 2] = 2,
    ) -> None: ...

    @svcd.api
    def lists(
        self, texts: list[str], numbers: list[int], files: list[bytes], boxes: list[Box] | None = None
    ) -> None: ...

    @svcd.api
    def things(self, box: Box, table: dict[str, int] | None = None, file: bytes = b"") -> None: ...

    @svcd.api
    def anything(self, **more: int) -> None: ...


SCHEMAS = schemas_of(Form, "Form")


def read(api: str, **form: Any) -> dict[str, Any]:
    return SCHEMAS[api].form.validate(form)


def refused(api: str, **form: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        read(api, **form)
    return {detail["field"]: detail["message"] for detail in caught.value.details}


def test_a_text_is_taken_as_it_stands() -> None:
    assert read("texts", a='{"x": 1}', b="null", c="3") == {"a": '{"x": 1}', "b": "null", "c": "3"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("i", "3", 3),
        ("i", " 3 ", 3),
        ("f", "3", 3.0),
        ("f", "1e3", 1000.0),
        ("b", "true", True),
        ("d", "2026-01-02", dt.date(2026, 1, 2)),
        ("d", "null", None),
        ("m", "good", Mood.GOOD),
        ("m", "1", Mood.ONE),
        ("k", "1", "1"),
        ("k", "2", 2),
    ],
)
def test_other_scalars_are_read_as_json_or_as_its_strings(name: str, text: str, value: Any) -> None:
    assert read("scalars", **{name: text}) == {name: value}


@pytest.mark.parametrize(
    ("name", "text"), [("i", "true"), ("i", "1.5"), ("i", '"3"'), ("b", "1"), ("b", "yes"), ("d", "7"), ("m", "bad")]
)
def test_what_the_schema_does_not_allow_is_refused(name: str, text: str) -> None:
    assert set(refused("scalars", **{name: text})) == {name}


def test_lists_come_as_one_field_or_several() -> None:
    assert read("lists", texts="a", numbers="1", files=b"x") == {"texts": ["a"], "numbers": [1], "files": [b"x"]}
    assert read("lists", texts=["a", "b"], numbers=["1", "2"], files=["text", b"\xff"]) == {
        "texts": ["a", "b"],
        "numbers": [1, 2],
        "files": [b"text", b"\xff"],
    }
    assert read("lists", texts='["a","b"]', numbers="[1,2]", boxes='[{"width":1}]')["boxes"] == [Box(width=1)]
    assert read("lists", boxes=['{"width":1}', '{"width":2}'])["boxes"] == [Box(width=1), Box(width=2)]
    assert read("lists") == {"texts": [], "numbers": [], "files": []}  # which a form cannot tell from none


def test_a_list_with_a_wrong_item_is_no_list_of_one_text() -> None:
    assert set(refused("lists", texts="[1]", numbers=["1", "x"])) == {"texts.0", "numbers.1"}


def test_objects_are_json_and_files_are_what_they_are() -> None:
    assert read("things", box='{"width": 2}', file="raw") == {"box": Box(width=2), "file": b"raw"}
    assert read("things", box={"json": '{"width": 2}'}, table={"json": ""}) == {"box": Box(width=2), "table": None}
    assert "Invalid JSON" in refused("things", box={"json": "{"})["box"]
    assert "width" in str(refused("things", box="{}"))


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert set(refused("things", table="[]", unknown="x")) == {"table", "box", "unknown"}


def test_fields_that_no_parameter_names_go_where_any_are_taken() -> None:
    assert read("anything", x="3") == {"x": "3"}
