"""What a client accepts, and what it gets of what there is."""

from __future__ import annotations

import pytest

from svcd.values.media import BYTES, EVENTS, JSON, MSGPACK, MSGPACK_SEQ, NDJSON, TEXT, Accept, led_argument, offers

VALUE = offers(["json"], is_stream=False)
TEXTUAL = offers(["text"], is_stream=False)
STREAM = offers(["json"], is_stream=True)

CHOICES = [
    ("", VALUE, JSON),
    ("*/*", VALUE, JSON),
    ("application/json", VALUE, JSON),
    ("application/msgpack", VALUE, MSGPACK),
    ("application/x-msgpack", VALUE, MSGPACK),
    ("application/json;q=0.5, application/msgpack", VALUE, MSGPACK),
    ("application/*", VALUE, JSON),
    ("*/*;q=0.1, application/msgpack;q=0.2", VALUE, MSGPACK),
    ("application/json;q=0, */*", VALUE, MSGPACK),
    ("application/json ; charset=utf-8", VALUE, JSON),
    ("text/html, application/xhtml+xml, */*;q=0.8", VALUE, JSON),
    ("image/png", VALUE, None),
    ("text/plain", VALUE, None),
    ("application/json;q=0, application/msgpack;q=0", VALUE, None),
    ("application/json;q=nonsense", VALUE, JSON),
    (", ,", VALUE, JSON),
    ("application/json, text/plain, */*", TEXTUAL, TEXT),
    ("application/json, */*", TEXTUAL, JSON),
    ("text/*", TEXTUAL, TEXT),
    ("", STREAM, NDJSON),
    ("text/event-stream", STREAM, EVENTS),
    ("application/json", STREAM, NDJSON),
    ("application/msgpack", STREAM, MSGPACK_SEQ),
    ("application/msgpack-seq", STREAM, MSGPACK_SEQ),
    ("text/event-stream, application/json", STREAM, NDJSON),
]


@pytest.mark.parametrize(("header", "offered", "chosen"), CHOICES)
def test_the_best_liked_form_is_chosen(header: str, offered: tuple[str, ...], chosen: str | None) -> None:
    assert Accept(header).best(offered) == chosen


def test_offers_begin_with_what_is_natural() -> None:
    assert offers({"json", "bytes", "text"}, is_stream=False) == (TEXT, BYTES, JSON, MSGPACK)
    assert offers({"text"}, is_stream=True) == (TEXT, NDJSON, EVENTS, MSGPACK_SEQ)


@pytest.mark.parametrize(
    ("content_type", "argument"),
    [
        ("application/msgpack-seq; items=numbers", "numbers"),
        ('Application/Msgpack-Seq;charset=x; items="w%C3%B6rter"', "wörter"),
        ("application/msgpack-seq", None),
        ("application/msgpack; items=numbers", None),
        ("", None),
    ],
)
def test_a_type_names_the_argument_whose_items_follow(content_type: str, argument: str | None) -> None:
    assert led_argument(content_type) == argument
