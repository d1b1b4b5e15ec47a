"""The connection without a socket: each message under every split, and what may cross."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from conversation import feed, greeted, in_conversation, raw, received, said_by

from svcd_ipc import messages
from svcd_ipc.connection import STREAM_BYTES, Connection
from svcd_ipc.errors import (
    CallError,
    EncodeError,
    LocalProtocolError,
)
from svcd_ipc.messages import (
    Arena,
    Call,
    Cancel,
    Event,
    Fed,
    Feed,
    Hello,
    Item,
    Ping,
    Result,
    Return,
    Taken,
)


def test_every_kind_is_in_the_conversation() -> None:
    kinds = {type(event) for _, event in said_by(in_conversation()[1])}
    about_memory = {Arena, Taken, Return}  # which has its own tests
    assert kinds | {Hello} | about_memory == set(Event.__args__)  # type: ignore[attr-defined] - a union has its members there


def test_whole() -> None:
    caller, callee = in_conversation()
    said = said_by(callee)
    assert received(caller, [b"".join(data for data, _ in said)]) == [event for _, event in said]


def test_byte_by_byte() -> None:
    caller, callee = in_conversation()
    said = said_by(callee)
    stream = b"".join(data for data, _ in said)
    assert received(caller, [stream[at : at + 1] for at in range(len(stream))]) == [event for _, event in said]


@pytest.mark.parametrize("index", range(17))
def test_each_message_in_every_split_with_bytes_of_the_next_behind(index: int) -> None:
    data_at, said_at = said_by(in_conversation()[1])[index]
    for at in range(len(data_at) + 1):
        caller, callee = in_conversation()
        said = said_by(callee)
        received(caller, [data for data, _ in said[:index]])
        trailing = (said[index + 1][0] if index + 1 < len(said) else b"")[:3]
        assert received(caller, [data_at[:at], data_at[at:] + trailing]) == [said_at]


def test_hello_in_every_split() -> None:
    hello = b"".join(Connection().send_hello({"service": "Entry", "replica": 0}, ["shm"]))
    for at in range(1, len(hello)):
        connection = Connection()
        assert received(connection, [hello[:at], hello[at:]]) == [
            Hello(messages.VERSION, {"service": "Entry", "replica": 0}, ["shm"])
        ]
        assert str(connection.peer) == "Entry/0"


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ({}, "the peer"),
        ({"role": "keeper"}, "keeper"),
        ({"service": "A"}, "A"),
        ({"service": "A", "replica": 2}, "A/2"),
    ],
)
def test_a_hello_names_its_peer(identity: dict[str, Any], name: str) -> None:
    assert str(Hello(1, identity)) == name


# What is no fault of the connection


def test_a_value_that_cannot_be_made_here_spoils_only_its_call() -> None:
    caller, callee = in_conversation()
    odd = msgpack.ExtType(99, b"")
    call, *_ = feed(caller, [raw(1, 2, "api", {"x": odd, "y": 1}, None, None, 0, 0)])
    assert isinstance(call, Call)
    assert call.args == {"x": None, "y": 1}
    assert call.fault == "ext type 99 is not registered here"
    result, item = feed(caller, [raw(2, 1, [odd], 0, 0), raw(5, 4, {(1, 2): 3})])
    assert isinstance(result, Result)
    assert result.fault
    assert isinstance(item, Item)
    assert "a key that cannot be one" in (item.fault or "")
    assert feed(caller, callee.send_ping(1)) == [Ping(1)]


def test_an_item_of_an_input_that_cannot_be_made_here_is_told_of_alone() -> None:
    caller, _ = in_conversation()
    (item,) = feed(caller, [raw(12, 1, 0, msgpack.ExtType(99, b""))])
    assert isinstance(item, Feed)
    assert (item.value, item.fault) == (None, "ext type 99 is not registered here")


# Arguments that are streams


def test_an_input_is_fed_what_is_wanted_and_no_more() -> None:
    caller, callee = greeted()
    _, chunks = caller.send_call("api", {}, inputs=["items", "others"])
    feed(callee, chunks)
    assert not caller.may_feed(1, 0)
    with pytest.raises(LocalProtocolError, match="call 1 wants no item of input 0"):
        caller.send_feed(1, 0, "item")
    feed(caller, callee.send_want(1, 0, 2))
    for value in "ab":
        assert caller.may_feed(1, 0)
        assert [event.value for event in feed(callee, caller.send_feed(1, 0, value))] == [value]
    assert not caller.may_feed(1, 0)
    assert not caller.may_feed(1, 1)
    feed(caller, callee.send_want(1, 0, 1))
    assert caller.may_feed(1, 0)
    assert feed(callee, caller.send_fed(1, 0)) == [Fed(1, 0)]
    assert callee.send_want(1, 0, 1) == []
    with pytest.raises(LocalProtocolError, match="input 0 of call 1 is not open"):
        caller.send_fed(1, 0)


def test_an_input_is_bounded_in_bytes() -> None:
    caller, callee = greeted()
    feed(callee, caller.send_call("api", {}, inputs=["items"])[1])
    feed(caller, callee.send_want(1, 0, 100))
    sent = 0
    while caller.may_feed(1, 0):
        feed(callee, caller.send_feed(1, 0, bytes(STREAM_BYTES // 4)))
        sent += 1
    assert sent == 4
    feed(caller, callee.send_want(1, 0, 1))
    assert caller.may_feed(1, 0)


def test_what_is_said_of_an_input_may_cross_the_answer_or_a_cancel() -> None:
    caller, callee = greeted()
    for _ in range(2):
        feed(callee, caller.send_call("api", {}, inputs=["items"])[1])
        feed(caller, callee.send_want(caller._last_mine, 0, 5))
    item, end = caller.send_feed(1, 0, "item"), caller.send_fed(1, 0)
    result = callee.send_result(1, "enough")
    assert feed(callee, item + end) == []
    assert feed(caller, result) == [Result(1, "enough", (0, 0))]
    assert not caller.may_feed(1, 0)
    assert feed(caller, [raw(14, 1, 0, 3)]) == []
    want = callee.send_want(2, 0, 1)
    caller.send_cancel(2)
    assert feed(caller, want) == []
    assert not caller.may_feed(2, 0)
    assert callee.send_want(1, 0, 1) == []


def test_a_call_that_cannot_travel_leaves_no_input_open() -> None:
    caller, _ = greeted()
    with pytest.raises(EncodeError, match=r"args\.x: a set"):
        caller.send_call("api", {"x": set()}, inputs=["items"])
    assert caller._inputs.mine == {}


def test_an_answer_that_crosses_a_cancel_is_dropped() -> None:
    caller, callee = in_conversation()
    result = callee.send_result(1, "late")
    items = callee.send_item(4, "late") + callee.send_end(4)
    cancels = caller.send_cancel(1) + caller.send_cancel(4)
    assert feed(caller, result + items) == []
    assert feed(callee, cancels) == []
    assert caller.send_cancel(1) == []
    assert feed(caller, callee.send_ping(1)) == [Ping(1)]


def test_a_cancelled_call_still_gets_its_answer_and_is_forgotten_then() -> None:
    caller, callee = greeted()
    number, call = caller.send_call("api", {})
    feed(callee, call)
    assert feed(callee, caller.send_cancel(number)) == [Cancel(number)]
    assert caller.awaits_answers
    assert feed(caller, callee.send_error(number, CallError("cancelled"))) == []
    assert not caller.awaits_answers


def test_credit_that_crosses_the_end_is_dropped() -> None:
    caller, callee = in_conversation()
    items = callee.send_item(4, 1) + callee.send_end(4)
    assert [type(event) for event in feed(caller, items[:1])] == [Item]
    credit = caller.send_credit(4, 1)
    assert feed(callee, credit) == []


def test_large_arrays_go_through_in_pieces_of_any_size() -> None:
    array = np.arange(40_000.0)
    caller, callee = greeted()
    data = b"".join(caller.send_call("api", {"x": array, "y": array[:10]})[1])
    for size in (1000, 65_536, len(data) - 1, len(data)):
        _, callee = greeted()
        (call,) = received(callee, [data[at : at + size] for at in range(0, len(data), size)])
        assert isinstance(call, Call)
        assert np.array_equal(call.args["x"], array)
        assert np.array_equal(call.args["y"], array[:10])
        assert not call.args["x"].flags.writeable
