"""What an api takes and gives, from its annotations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import svcd
from svcd.app.aliases import unaliased
from svcd.app.annotations import is_plain
from svcd.app.schemas import ApiSchema, schemas_of


@dataclass
class Point:
    x: int
    y: int = 0


class Model(pydantic.BaseModel):
    name: str
    points: list[Point] = []


@svcd.service
class Apis:
    @svcd.api
    def simple(self, count: int, names: list[str] = [], *, ratio: float = 0.5) -> dict[str, float]:  # noqa: B006  (never changed)
        """Count names."""

    @svcd.api
    def untyped(self, a, b=1): ...

    @svcd.api
    def open(self, a: int, **more: int) -> None: ...

    @svcd.api
    def arrays(
        self,
        any_: np.ndarray,
        floats: npt.NDArray[np.float32] | None = None,
        many: list[np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]: ...

    @svcd.api
    def raw(self, image: bytes, quality: int = 3) -> bytes: ...

    @svcd.api
    def text(self, prompt: str | None, stop: list[str] | None = None) -> str: ...

    @svcd.api
    def point(self, at: Point, model: Model) -> Point: ...

    @svcd.api
    def pair(self) -> tuple[int, datetime]: ...

    @svcd.api
    def model(self) -> Model: ...

    @svcd.api
    async def tokens(self, n: Annotated[int, pydantic.Field(gt=0)]) -> AsyncIterator[Point]:
        yield Point(1)

    @svcd.api
    def lines(self) -> Iterator[str]:
        yield ""


SCHEMAS = schemas_of(Apis, "Apis")


def wrong_fields(schema: ApiSchema, args: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(svcd.InvalidArgument) as caught:
        schema.validate(args)
    return {detail["field"]: detail["message"] for detail in caught.value.details}


def test_defaults_are_left_to_the_function() -> None:
    assert SCHEMAS["simple"].validate({"count": 3}) == {"count": 3}
    assert SCHEMAS["simple"].validate({"count": "3", "ratio": 1}) == {"count": 3, "ratio": 1.0}


def test_every_wrong_field_is_named() -> None:
    fields = wrong_fields(SCHEMAS["simple"], {"names": ["a", 3], "cuont": 1})
    assert set(fields) == {"count", "names.1", "cuont"}
    assert fields["count"] == "Field required"
    with pytest.raises(svcd.InvalidArgument, match=r"^Apis\.simple: count: Field required$"):
        SCHEMAS["simple"].validate({})


def test_no_annotation_takes_anything() -> None:
    value = object()
    assert SCHEMAS["untyped"].validate({"a": value}) == {"a": value}
    assert set(wrong_fields(SCHEMAS["untyped"], {"b": 1, "c": 2})) == {"a", "c"}


def test_open_keywords_let_more_fields_in() -> None:
    assert SCHEMAS["open"].validate({"a": 1, "z": 3}) == {"a": 1, "z": 3}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"", "body"),
        (b"[1]", "body"),
        (b"3", "body"),
        (b'{"count": "x"}', "count"),
        (b"{}", "count"),
        (b'{"count": 1, "more": 2}', "more"),
        (b"\xff\xfe", "body"),
    ],
)
def test_json_bodies_that_are_wrong_name_the_field(body: bytes, field: str) -> None:
    with pytest.raises(svcd.InvalidArgument) as caught:
        SCHEMAS["simple"].validate_json(body)
    assert [detail["field"] for detail in caught.value.details] == [field]


@pytest.mark.parametrize(
    ("api", "body", "fields"),
    [
        ("simple", '{"count": 18446744073709551616, "names": []}', ["count"]),
        ("simple", '{"count": -9223372036854775809}', ["count"]),
        ("simple", '{"count": 1e30}', ["count"]),
        ("open", f'{{"a": 1, "z": {"9" * 400}, "y": -{"8" * 30}}}', ["z", "y"]),
        ("untyped", '{"a": {"deep": [1, [100000000000000000000]]}, "b": "100000000000000000000"}', ["a.deep.1.0"]),
        ("point", '{"at": {"x": 100000000000000000000}, "model": {"name": "", "points": []}}', ["at.x"]),
        ("point", f'{{"at": {{"x": 1}}, "model": {{"name": "", "points": [{{"x": {2**64}}}]}}}}', ["model.points.0.x"]),
    ],
)
def test_integers_that_no_service_could_be_sent_name_their_field(api: str, body: str, fields: list[str]) -> None:
    with pytest.raises(svcd.InvalidArgument) as caught:
        SCHEMAS[api].validate_json(body.encode())
    told = "Input should be an integer of 64 bits, from -2**63 to 2**64-1"
    assert [(detail["field"], detail["message"]) for detail in caught.value.details] == [(it, told) for it in fields]


def test_long_numbers_that_can_travel_are_taken() -> None:
    most, least = 2**64 - 1, -(2**63)
    assert SCHEMAS["untyped"].validate_json(f'{{"a": {most}, "b": {least}}}'.encode()) == {"a": most, "b": least}
    taken = SCHEMAS["simple"].validate_json(f'{{"count": 1, "names": ["{"9" * 30}"], "ratio": {10**30}}}'.encode())
    assert taken == {"count": 1, "names": ["9" * 30], "ratio": 1e30}
    assert SCHEMAS["untyped"].validate_json(b'{"a": 0.1234567890123456789012}')["a"] == 0.1234567890123456789012


@given(
    st.binary(max_size=40)
    | st.text(max_size=40).map(str.encode)
    | st.from_regex(r'\{"count": ?.{0,9}\}').map(str.encode)
)
def test_no_body_breaks_validation(body: bytes) -> None:
    fault = None
    try:
        assert isinstance(SCHEMAS["simple"].validate_json(body)["count"], int)
    except svcd.InvalidArgument as error:
        fault = error
    assert fault is None or fault.details


def test_bytes_are_base64_inside_json() -> None:
    assert SCHEMAS["raw"].validate_json(b'{"image": "aGk="}') == {"image": b"hi"}
    assert SCHEMAS["raw"].validate({"image": b"\xff"}) == {"image": b"\xff"}
    assert json.loads(SCHEMAS["raw"].to_json(b"hi")) == "aGk="


def test_arrays_are_taken_as_arrays_and_as_lists() -> None:
    schema = SCHEMAS["arrays"]
    image = np.arange(3)
    taken = schema.validate({"any_": image, "floats": np.float64([1, 2]), "many": [image, [1.5]]})
    assert taken["any_"] is image
    assert taken["floats"].dtype == np.float32
    assert taken["many"][0] is image
    made = schema.validate_json(b'{"any_": [[1, 2], [3, 4]], "floats": [1]}')
    assert made["any_"].tolist() == [[1, 2], [3, 4]]
    assert made["floats"].dtype == np.float32
    assert not made["any_"].flags.writeable
    assert schema.validate({"any_": 3})["any_"].shape == ()


def test_wrong_arrays_are_named() -> None:
    schema = SCHEMAS["arrays"]
    fields = wrong_fields(schema, {"any_": "pixels", "floats": np.complex64([1]), "many": [[[1], [2, 3]]]})
    assert fields["any_"] == "Input should be an array or nested lists, not str"
    assert "an array of complex64 is no array of float32" in " ".join(fields.values())
    assert any(name.startswith("many") for name in fields)
    assert "any_" in wrong_fields(schema, {"any_": ["a", "b"]})


def test_arrays_have_a_json_form() -> None:
    schema = SCHEMAS["arrays"]
    assert schema.to_json({"a": np.float32([[1, 2]])}) == b'{"a":[[1.0,2.0]]}'
    assert schema.to_json({"a": [1]}) == b'{"a":[1]}'
    assert (
        SCHEMAS["untyped"].to_json({"a": np.arange(2), "b": np.float64(0.5), "c": b"hi"})
        == b'{"a":[0,1],"b":0.5,"c":"aGk="}'
    )


def test_what_has_no_json_form_names_its_type() -> None:
    for name in ("simple", "untyped"):
        with pytest.raises(svcd.BadResult, match=rf"Apis\.{name}: dict cannot be written as JSON: .*builtins\.object"):
            SCHEMAS[name].to_json({"a": object()})


def test_not_a_number_is_null_in_json() -> None:
    assert SCHEMAS["simple"].to_json({"a": float("nan"), "b": float("inf")}) == b'{"a":null,"b":null}'
    assert SCHEMAS["untyped"].to_json([float("nan")]) == b"[null]"


def test_results_are_rebuilt_where_the_type_does_not_travel() -> None:
    now = datetime.now(UTC)
    assert SCHEMAS["point"].rebuild({"x": 1, "y": 2}) == Point(1, 2)
    assert SCHEMAS["pair"].rebuild([1, now]) == (1, now)
    assert SCHEMAS["model"].rebuild({"name": "n", "points": [{"x": 1}]}) == Model(name="n", points=[Point(1)])
    assert SCHEMAS["tokens"].rebuild({"x": 1}) == Point(1)
    for plain in ("simple", "untyped", "arrays", "raw", "lines", "open"):
        assert SCHEMAS[plain].rebuild is None
    with pytest.raises(svcd.BadResult, match=r"Apis\.point: x: Field required"):
        SCHEMAS["point"].rebuild({})


@pytest.mark.parametrize(
    ("annotation", "plain"),
    [
        (int, True),
        (dict[str, list[float | None]], True),
        (Annotated[int, "x"], True),
        (Literal["a"], True),
        (np.ndarray, True),
        (npt.NDArray[np.int8], True),
        (tuple[int, ...], False),
        (set[int], False),
        (Point, False),
        (list[Point], False),
        (dict[str, Point | None], False),
    ],
)
def test_plain_types_are_told_from_those_to_rebuild(annotation: Any, plain: bool) -> None:
    assert is_plain(unaliased(annotation)) is plain  # numpy's NDArray is an alias on Python 3.12


def test_positional_arguments_get_their_names() -> None:
    assert SCHEMAS["simple"].bind((1, ["a"]), {"ratio": 2}) == {"count": 1, "names": ["a"], "ratio": 2}
    with pytest.raises(TypeError, match="too many positional arguments"):
        SCHEMAS["simple"].bind((1, [], 3), {})


def test_raw_bodies_find_their_parameter() -> None:
    assert SCHEMAS["raw"].only_field(bytes) == "image"
    assert SCHEMAS["raw"].only_field(str) is None
    assert SCHEMAS["text"].only_field(str) == "prompt"
    assert SCHEMAS["untyped"].only_field(bytes) is None  # two would fit
    assert SCHEMAS["simple"].only_field(bytes) is None


def test_the_description_is_json_schema_and_says_what_holds() -> None:
    for schema in SCHEMAS.values():
        described = schema.describe()
        jsonschema.Draft202012Validator.check_schema(described["input"])
        jsonschema.Draft202012Validator.check_schema(described["output"])
        assert json.dumps(described)
    told = SCHEMAS["simple"].describe()
    assert told["doc"] == "Count names."
    assert told["is_stream"] is False
    assert told["input"]["required"] == ["count"]
    assert told["input"]["additionalProperties"] is False
    assert told["output"] == {"type": "object", "additionalProperties": {"type": "number"}}
    assert SCHEMAS["tokens"].describe()["output"]["title"] == "Point"
    count, n = told["input"]["properties"]["count"], SCHEMAS["tokens"].describe()["input"]["properties"]["n"]
    assert (count["minimum"], count["maximum"]) == (-(2**63), 2**64 - 1)
    assert (n["exclusiveMinimum"], n["maximum"], "minimum" in n) == (0, 2**64 - 1, False)


def test_an_annotation_that_cannot_be_resolved_is_told_with_its_place() -> None:
    @svcd.service
    class Wrong:
        @svcd.api
        def run(self, x: Nowhere) -> None: ...  # noqa: F821  (that is the test)

    with pytest.raises(
        TypeError, match=r"test_api_schemas.py:\d+: Wrong\.run: an annotation cannot be resolved: .*Nowhere"
    ):
        _ = schemas_of(Wrong, "Wrong")["run"].validate
