"""The connection without a socket: each rule that a side can break."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from conversation import events_of, feed, greeted, in_conversation, raw

from svcd_ipc import frames, messages
from svcd_ipc.connection import STREAM_BYTES, Connection
from svcd_ipc.errors import (
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    LocalProtocolError,
    RemoteProtocolError,
    TooLarge,
)
from svcd_ipc.messages import (
    Call,
    Credit,
    Error,
    Result,
)

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
    with pytest.raises(
        TooLarge, match=r"args: 2000\d\d bytes with its envelope; the limit of a frame is 10000"
    ) as caught:
        caller.send_call("api", {"a": 1, "x": bytes(200_000), "y": "short", "z": np.zeros(3)})
    assert isinstance(caught.value, InvalidArgument), "of the caller: another caller gets no other answer"
    assert [detail["field"] for detail in caught.value.details] == ["x"]
    with pytest.raises(EncodeError, match=r"result: 2000\d\d bytes .* limit of a frame is 10000"):
        callee.send_result(number, np.zeros(25_000))
    assert feed(caller, callee.send_error(number, CallError("x" * 50_000)))[0].message == "x" * 4096  # type: ignore[union-attr] - an error


def test_an_error_gets_through_whatever_is_in_it() -> None:
    caller, callee = in_conversation()
    (error,) = feed(caller, callee.send_error(1, InvalidArgument("caf\ud800", [{"input": {1, 2}}])))
    assert error == Error(1, "invalid", "caf?", {}, (0, 0))
