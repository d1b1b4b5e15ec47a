"""Any talk, cut anywhere, gives the same events; any bytes give events or the protocol's own error."""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from svcd_ipc import frames
from svcd_ipc.connection import Connection
from svcd_ipc.errors import CallError, RemoteProtocolError, ServiceUnavailable
from svcd_ipc.messages import Call, Cancel, Credit, End, Error, Event, Fed, Feed, Item, Refused, Result

HELLO = b"".join(Connection().send_hello({}))
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
messages = st.lists(anything, max_size=8) | st.tuples(st.integers(-1, 16)).flatmap(
    lambda kind: st.lists(anything | st.integers(0, 4), max_size=8).map(lambda rest: [*kind, *rest])
)


def events_of(connection: Connection) -> list[Event]:
    found = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(at)]


apis = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(apis, st.binary(max_size=300)), max_size=20), st.lists(st.integers(0), max_size=30))
def test_any_cut_gives_the_same_events(calls: list[tuple[str, bytes]], places: list[int]) -> None:
    sender = Connection()
    chunks = sender.send_hello({})
    for api, data in calls:
        chunks += sender.send_call(api, {"x": data})[1]
    stream = b"".join(chunks)
    receiver = Connection()
    found = []
    for piece in cut(stream, places):
        receiver.receive_data(piece)
        found += events_of(receiver)
    assert [(event.api, event.args["x"]) for event in found[1:] if isinstance(event, Call)] == calls


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=2000), st.booleans(), st.lists(st.integers(0), max_size=5))
def test_random_bytes_give_events_or_the_protocol_error(data: bytes, greeted: bool, places: list[int]) -> None:
    connection = Connection(limit=10_000)
    survive(connection, cut((HELLO if greeted else b"") + data, places))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(messages, max_size=8), st.booleans())
def test_random_messages_give_events_or_the_protocol_error(sent: list[list[Any]], has_calls: bool) -> None:
    connection = Connection()
    if has_calls:
        for window in (0, 0, 5):
            connection.send_call("api", {}, window=window)
        connection.send_call("api", {}, inputs=["items", "others"])
        connection.send_cancel(2)
        connection.send_ping(1)
    survive(connection, [HELLO, *(frames.pack(msgpack.packb(message)) for message in sent)])


def survive(connection: Connection, pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            if piece:
                connection.receive_data(piece)
            events_of(connection)
        connection.receive_data(b"")
        connection.next_event()
    except RemoteProtocolError as error:
        connection.send_goodbye(str(error))


class Conversation(RuleBasedStateMachine):
    """Two sides talk at random by the rules, over links of any latency: neither ever accuses the other."""

    def __init__(self) -> None:
        super().__init__()
        self.caller, self.callee = Connection(), Connection()
        self.to_callee, self.to_caller = bytearray(), bytearray()
        self.open: dict[int, int] = {}
        """Calls that the callee has seen and not answered: id -> window."""
        self.answers: dict[int, int] = {}
        self.let_go: set[int] = set()
        self.fed: dict[tuple[int, int], int] = {}
        """Items sent by input: (call, index) -> how many."""
        self.taken: dict[tuple[int, int], int] = {}
        self.calls = 0
        self.to_callee += b"".join(self.caller.send_hello({}))
        self.to_caller += b"".join(self.callee.send_hello({}))

    @rule(window=st.integers(0, 3), inputs=st.sampled_from([(), ("a",), ("a", "b")]))
    def call(self, window: int, inputs: tuple[str, ...]) -> None:
        number, chunks = self.caller.send_call("api", {}, window=window, inputs=inputs)
        self.fed.update({(number, index): 0 for index in range(len(inputs))})
        self.calls += 1
        assert number == self.calls
        self.to_callee += b"".join(chunks)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.calls))
        if chunks := self.caller.send_cancel(number):
            self.let_go.add(number)
            self.to_callee += b"".join(chunks)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), how=st.integers(0, 4))
    def answer(self, data: st.DataObject, how: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        if how == 0 and self.callee.may_send_item(number):
            self.to_caller += b"".join(self.callee.send_item(number, "item"))
            return
        del self.open[number]
        send = [
            lambda: self.callee.send_end(number),
            lambda: self.callee.send_result(number, 1),
            lambda: self.callee.send_error(number, ServiceUnavailable("no")),
            lambda: self.callee.send_busy(number),
            lambda: self.callee.send_error(number, CallError("cancelled")),
        ][how]
        self.to_caller += b"".join(send())

    @precondition(lambda self: self.fed)
    @rule(data=st.data(), count=st.integers(1, 3))
    def want(self, data: st.DataObject, count: int) -> None:
        number, index = data.draw(st.sampled_from(sorted(self.fed)))
        if number in self.open:
            self.to_caller += b"".join(self.callee.send_want(number, index, count))

    @precondition(lambda self: self.fed)
    @rule(data=st.data(), completes=st.booleans())
    def feed(self, data: st.DataObject, completes: bool) -> None:
        number, index = data.draw(st.sampled_from(sorted(self.fed)))
        if self.caller.may_feed(number, index):
            self.to_callee += b"".join(self.caller.send_feed(number, index, self.fed[number, index]))
            self.fed[number, index] += 1
            if completes:
                self.to_callee += b"".join(self.caller.send_fed(number, index))

    @rule(count=st.integers(1, 200))
    def deliver_to_callee(self, count: int) -> None:
        data, self.to_callee = bytes(self.to_callee[:count]), self.to_callee[count:]
        if data:
            self.callee.receive_data(data)
        for event in events_of(self.callee):
            if isinstance(event, Call):
                self.open[event.id] = event.window
            elif isinstance(event, Feed):
                assert event.id in self.open
                assert event.value == self.taken.get((event.id, event.input), 0)  # each item, and in order
                self.taken[event.id, event.input] = event.value + 1
            elif isinstance(event, Fed):
                assert self.taken.get((event.id, event.input), 0) == self.fed[event.id, event.input]
            else:
                assert not isinstance(event, (Cancel, Credit)) or event.id in self.open

    @rule(count=st.integers(1, 200))
    def deliver_to_caller(self, count: int) -> None:
        data, self.to_caller = bytes(self.to_caller[:count]), self.to_caller[count:]
        if data:
            self.caller.receive_data(data)
        while (event := self.caller.next_event()) is not None:
            if isinstance(event, Item):
                assert event.id not in self.let_go
                self.to_callee += b"".join(self.caller.send_credit(event.id, 1))
            elif isinstance(event, (Result, Error, Refused, End)):
                assert event.id not in self.let_go
                self.answers[event.id] = self.answers.get(event.id, 0) + 1

    @invariant()
    def each_call_is_answered_at_most_once(self) -> None:
        assert all(count == 1 for count in self.answers.values())

    def teardown(self) -> None:
        for _ in range(2):
            self.deliver_to_callee(len(self.to_callee))
            for number in list(self.open):
                del self.open[number]
                self.to_caller += b"".join(self.callee.send_result(number, 1))
            self.deliver_to_caller(len(self.to_caller))
        assert set(self.answers) | self.let_go == set(range(1, self.calls + 1))
        assert not self.caller.awaits_answers


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
