"""The connection without a socket: each message under every split, and each rule that a side can break."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from svcd_ipc import frames, messages
from svcd_ipc.connection import STREAM_BYTES, Connection
from svcd_ipc.errors import (
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    LocalProtocolError,
    RemoteProtocolError,
)
from svcd_ipc.messages import (
    Arena,
    Call,
    Cancel,
    Credit,
    Drain,
    End,
    Error,
    Event,
    Fed,
    Feed,
    Hello,
    Item,
    Ping,
    Pong,
    Refused,
    Result,
    Return,
    Taken,
    Want,
)


def events_of(connection: Connection) -> list[Event]:
    found = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


def feed(connection: Connection, chunks: list[Any]) -> list[Event]:
    connection.receive_data(b"".join(chunks))
    return events_of(connection)


def greeted(**options: Any) -> tuple[Connection, Connection]:
    """Return two connections that have said hello to each other."""
    one, other = Connection(**options), Connection(**options)
    feed(other, one.send_hello({"service": "Entry", "replica": 0}))
    feed(one, other.send_hello({"service": "Classifier", "replica": 1}, ["x"]))
    return one, other


def raw(*message: Any) -> bytes:
    return frames.pack(msgpack.packb(list(message)))


def in_conversation() -> tuple[Connection, Connection]:
    """Return a caller with open calls 1 to 3 for a value, 3 with an input, 4 for a stream, and ping 5; and its callee.

    The callee has called back, with an input of which two items are wanted.
    """
    caller, callee = greeted()
    for number in range(1, 5):
        inputs = ["items"] if number == 3 else []
        feed(callee, caller.send_call("api", {"n": number}, window=3 if number == 4 else 0, inputs=inputs)[1])
    feed(callee, caller.send_ping(5))
    feed(caller, callee.send_call("back", {}, window=3, inputs=["items"])[1])
    feed(callee, caller.send_item(1, "item"))
    feed(callee, caller.send_want(1, 0, 2))
    return caller, callee


def said_by(callee: Connection) -> list[tuple[bytes, Event]]:
    """Return one message of every kind but hello as the callee says it, with the event that it should be."""
    said: list[tuple[list[Any], Event]] = [
        (
            callee.send_result(1, {"a": [1, "two", b"3", None]}, (3, 1)),
            Result(1, {"a": [1, "two", b"3", None]}, (3, 1)),
        ),
        (
            callee.send_error(2, InvalidArgument("no", [{"field": "x"}]), (2, 0)),
            Error(2, "invalid", "no", {"details": [{"field": "x"}]}, (2, 0)),
        ),
        (callee.send_want(3, 0, 4), Want(3, 0, 4)),
        (callee.send_busy(3, (9, 8)), Refused(3, (9, 8))),
        (callee.send_feed(1, 0, {"a": 1}), Feed(1, 0, {"a": 1}, 8)),
        (callee.send_fed(1, 0), Fed(1, 0)),
        (callee.send_item(4, "first"), Item(4, "first", 9)),
        (callee.send_item(4, [2.5]), Item(4, [2.5], 13)),
        (callee.send_end(4, (0, 0)), End(4, (0, 0))),
        (callee.send_pong(5), Pong(5)),
        (callee.send_ping(77), Ping(77)),
        (callee.send_drain(), Drain()),
        (callee.send_credit(1, 1), Credit(1, 1)),
        (callee.send_cancel(1), Cancel(1)),
        (
            callee.send_call("more", {"x": [1]}, deadline=12.5, trace="00-1-2-03", attempt=1, window=2)[1],
            Call(2, "more", {"x": [1]}, 12.5, "00-1-2-03", 1, 2),
        ),
        (
            callee.send_call("fed", {"x": 1}, inputs=["items", "others"])[1],
            Call(3, "fed", {"x": 1}, None, None, 0, 0, None, ("items", "others")),
        ),
        (callee.send_goodbye("that is all"), Error(0, "goodbye", "that is all", {}, (0, 0))),
    ]
    return [(b"".join(chunks), event) for chunks, event in said]


def received(caller: Connection, pieces: list[bytes]) -> list[Event]:
    return [event for piece in pieces if piece for event in feed(caller, [piece])]


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


# What the peer may not do

HELLO = raw(0, "svcd", messages.VERSION, {}, [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (raw(1, 1, "api", {}, None, None, 0, 0), "first message was call, not hello"),
        (raw(0, "http", 1, {}, []), "malformed hello: it does not speak this protocol"),
        (raw(0, "svcd", 99, {}, []), f"speaks version 99, this side version {messages.VERSION}"),
        (raw(0, "svcd", 99), "speaks version 99"),
        (raw(0, "svcd", messages.VERSION, [], []), "malformed hello"),
        (b"GET / HTTP/1.1\r\n\r\n", "announced a frame of 542393671 bytes"),
        (frames.pack(b"\xc1"), "no message: not msgpack"),
        (frames.pack(b"\x93\x01"), "no message: not msgpack"),
        (frames.pack(b"\x01\x02"), "no message: not msgpack"),
        (frames.pack(b"\x80"), "no message: not an array but dict"),
        (raw(), "unknown kind None"),
        (raw(18), "unknown kind 18"),
        (raw(-1), "unknown kind -1"),
        (raw(True), "unknown kind True"),
        (raw("call"), "unknown kind 'call'"),
    ],
)
def test_a_peer_that_does_not_speak_the_protocol(data: bytes, message: str) -> None:
    connection = Connection()
    connection.receive_data(data)
    with pytest.raises(RemoteProtocolError, match=message):
        events_of(connection)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HELLO, "hello twice"),
        (raw(2, 9, None, 0, 0), "answered call 9, which is not open"),
        (raw(4, 0, 0, 0), "answered call 0, which is not open"),
        (raw(5, 9, None), "item of call 9, which is not open"),
        (raw(5, 1, None), "item of call 1 without credit"),
        (raw(5, 4, 0) * 4, "item of call 4 without credit"),
        (raw(7, 9, 1), "credited call 9, which it never made"),
        (raw(7, 1, 2), "gave credit 2 for items of call 1 it never got"),
        (raw(8, 2), "cancelled call 2, which it never made"),
        (raw(8, 0), "cancelled call 0, which it never made"),
        (raw(10, 6), "answered ping 6, which was not asked"),
        (raw(1, 1, "again", {}, None, None, 0, 0), "made call 1 after call 1"),
        (raw(1, 0, "zero", {}, None, None, 0, 0), "made call 0 after call 1"),
        (raw(1, 2, "api", {}, None, None, 0), "malformed call"),
        (raw(1, 2, "api", [], None, None, 0, 0), "malformed call"),
        (raw(1, 2, b"api", {}, None, None, 0, 0), "malformed call"),
        (raw(1, 2, "api", {}, 3, None, 0, 0), "malformed call"),
        (raw(1, 2, "api", {}, None, None, 0, -1), "malformed call"),
        (raw(1, "2", "api", {}, None, None, 0, 0), "malformed call"),
        (raw(2, 1, None, -1, None), "malformed result"),
        (raw(3, 1, 2, "text", {}, 0, 0), "malformed error"),
        (raw(4, 1), "malformed busy"),
        (raw(5, 4), "malformed item"),
        (raw(6, 4, 0), "malformed end"),
        (raw(7, 1, -1), "malformed credit"),
        (raw(8, None), "malformed cancel"),
        (raw(9, 1.5), "malformed ping"),
        (raw(10, []), "malformed pong"),
        (raw(11, 1), "malformed drain"),
        (raw(9, msgpack.ExtType(99, b"")), "malformed ping"),
        (raw(12, 9, 0, None), "fed call 9, which it never made"),
        (raw(12, 1, 1, None), "spoke of input 1 of call 1, which has none such"),
        (raw(12, 1, 0, None) * 3, "fed call 1 what it did not want"),
        (raw(13, 1, 0) + raw(12, 1, 0, None), "fed call 1 what it did not want"),
        (raw(13, 1, 0) * 2, "completed input 0 of call 1 twice"),
        (raw(13, 9, 0), "fed call 9, which it never made"),
        (raw(14, 9, 0, 1), "wanted items of call 9, which was never made"),
        (raw(14, 1, 0, 1), "wanted input 0 of call 1, which has none such"),
        (raw(14, 3, 1, 1), "wanted input 1 of call 3, which has none such"),
        (raw(12, 1, 0), "malformed feed"),
        (raw(12, 1, -1, None), "malformed feed"),
        (raw(13, 1), "malformed fed"),
        (raw(14, 3, 0, -1), "malformed want"),
        (raw(1, 2, "api", {}, None, None, 0, 0, []), "malformed call: expected names of inputs"),
        (raw(1, 2, "api", {}, None, None, 0, 0, "x"), "malformed call: expected names of inputs"),
        (raw(1, 2, "api", {}, None, None, 0, 0, [1]), "malformed call: expected names of inputs"),
        (raw(1, 2, "api", {"x": 1}, None, None, 0, 0, ["x"]), "names of inputs that are no other arguments"),
        (raw(1, 2, "api", {}, None, None, 0, 0, ["x", "x"]), "malformed call: expected each input once"),
    ],
)
def test_a_peer_that_breaks_a_rule(data: bytes, message: str) -> None:
    caller, _ = in_conversation()
    caller.receive_data(data)
    with pytest.raises(RemoteProtocolError, match=message):
        events_of(caller)


@pytest.mark.parametrize("cut", [1, 3, 4, 10])
def test_a_half_frame_at_the_end(cut: int) -> None:
    connection = Connection()
    connection.receive_data(HELLO[:cut])
    assert events_of(connection) == []
    connection.receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="ended the connection after"):
        connection.next_event()


def test_an_end_between_frames_is_no_error() -> None:
    connection, _ = greeted()
    connection.receive_data(b"")
    assert connection.next_event() is None


def test_a_frame_over_the_limit() -> None:
    connection = Connection(limit=100)
    connection.receive_data((101).to_bytes(4, "little"))
    with pytest.raises(RemoteProtocolError, match="101 bytes; the limit is 100"):
        connection.next_event()


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


# What this side may not do


def test_answers_to_calls_that_are_not_open() -> None:
    _, callee = in_conversation()
    callee.send_result(1, None)
    for send in (callee.send_result, callee.send_item):
        with pytest.raises(LocalProtocolError, match="call 1, which is not open"):
            send(1, None)
    with pytest.raises(LocalProtocolError, match="call 9"):
        callee.send_error(9, DeadlineExceeded("late"))
    with pytest.raises(LocalProtocolError, match="call 9"):
        callee.send_end(9)
    callee.send_cancel(1)
    with pytest.raises(LocalProtocolError, match="credit for call 1, which is not open"):
        callee.send_credit(1, 1)


def test_items_need_credit() -> None:
    caller, callee = in_conversation()
    for n in range(3):
        assert callee.may_send_item(4)
        feed(caller, callee.send_item(4, n))
    assert not callee.may_send_item(4)
    with pytest.raises(LocalProtocolError, match="no credit for an item of call 4"):
        callee.send_item(4, 3)
    assert feed(callee, caller.send_credit(4, 2)) == [Credit(4, 2)]
    assert callee.may_send_item(4)
    assert not callee.may_send_item(1)


def test_bytes_under_way_are_bounded_too() -> None:
    caller, callee = in_conversation()
    large = bytes(STREAM_BYTES)
    feed(caller, callee.send_item(4, large))
    assert not callee.may_send_item(4)
    feed(callee, caller.send_credit(4, 1))
    assert callee.may_send_item(4)


def test_what_cannot_travel_is_not_sent_and_leaves_no_trace() -> None:
    caller, callee = in_conversation()
    with pytest.raises(EncodeError, match=r"args\.image\[1\]: a set"):
        caller.send_call("api", {"image": [0, {1}]})
    with pytest.raises(EncodeError, match=r"result: a value of type builtins\.object"):
        callee.send_result(1, object())
    with pytest.raises(EncodeError, match="item: a set"):
        callee.send_item(4, {1})
    assert feed(caller, callee.send_result(1, "fine")) == [Result(1, "fine", (0, 0))]
    assert [type(event) for event in feed(callee, caller.send_call("api", {})[1])] == [Call]


def test_what_is_too_large_names_size_and_limit() -> None:
    caller, callee = greeted(limit=10_000)
    number, call = caller.send_call("api", {})
    feed(callee, call)
    with pytest.raises(EncodeError, match=r"args: 2000\d\d bytes with its envelope; the limit of a frame is 10000"):
        caller.send_call("api", {"x": bytes(200_000)})
    with pytest.raises(EncodeError, match=r"result: 2000\d\d bytes .* limit of a frame is 10000"):
        callee.send_result(number, np.zeros(25_000))
    assert feed(caller, callee.send_error(number, CallError("x" * 50_000)))[0].message == "x" * 4096  # type: ignore[union-attr] - an error


def test_an_error_gets_through_whatever_is_in_it() -> None:
    caller, callee = in_conversation()
    (error,) = feed(caller, callee.send_error(1, InvalidArgument("caf\ud800", [{"input": {1, 2}}])))
    assert error == Error(1, "invalid", "caf?", {}, (0, 0))


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
