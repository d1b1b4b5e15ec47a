"""Lending in any order: what a view shows never changes, and when all views are gone nothing is held."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from svcd_ipc.buffers import LEND
from svcd_ipc.mapping import attach
from svcd_ipc.memory import Memory
from svcd_ipc.sharing import Sharing

SIZE = 8 * LEND


class Lending(RuleBasedStateMachine):
    """An owner and one peer, without a socket between them; `views` are those of either, with the byte they show."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.none = Memory(SIZE), Memory(0)
        reading, writing = os.pipe()
        self.owner, self.peer = Sharing(self.memory, reading), Sharing(self.none, -1)
        self.owner.may_lend = True
        self.peer.attach(attach(self.memory.descriptor, SIZE, writing))
        self.views: list[tuple[memoryview, int]] = []
        self.last = 0

    def any_of(self, data: st.DataObject) -> int:
        """Draw an index, as hypothesis would hold on to the views themselves."""
        return data.draw(st.integers(0, len(self.views) - 1))

    @rule(size=st.integers(LEND, 3 * LEND))
    def lend(self, size: int) -> None:
        self.last = (self.last + 1) % 256
        reference = self.owner.lend(np.full(size, self.last, "u1"))
        if reference is not None:
            self.views.append((self.peer.borrow(reference), self.last))

    @rule(size=st.integers(LEND, 3 * LEND))
    def lend_what_is_not_sent_after_all(self, size: int) -> None:
        reference = self.owner.lend(np.zeros(size, "u1"))
        if reference is not None:
            self.owner.take_back([reference])

    @precondition(lambda self: bool(self.views))
    @rule(data=st.data())
    def slice(self, data: st.DataObject) -> None:
        view, byte = self.views[self.any_of(data)]
        start = len(view) // 3
        self.views.append((view[start : max(start + 1, len(view) // 2)], byte))  # an empty one would show nothing

    @precondition(lambda self: bool(self.views))
    @rule(data=st.data())
    def send_back(self, data: st.DataObject) -> None:
        view, byte = self.views[self.any_of(data)]
        reference = self.peer.lend(view)
        if reference is not None:  # else it is no view of the peer's
            self.views.append((self.owner.borrow(reference), byte))

    @precondition(lambda self: bool(self.views))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        del self.views[self.any_of(data)]

    @rule()
    def give_back(self) -> None:
        self.owner.take_returns(self.peer.returns())

    @invariant()
    def views_show_what_they_showed(self) -> None:
        for view, byte in self.views:
            assert view.readonly
            assert {view[0], view[-1]} == {byte}

    @invariant()
    def no_more_is_held_than_there_is(self) -> None:
        assert self.memory.used <= SIZE
        assert self.peer.borrowed <= sum(self.owner._lent.values())

    def teardown(self) -> None:
        self.views.clear()
        self.owner.take_returns(self.peer.returns())
        assert self.memory.used == 0
        assert (self.peer.borrowed, self.owner._lent) == (0, {})
        self.peer.end()
        self.owner.end()
        assert not self.memory._departed  # the mapping is gone, and with it the lifeline
        self.memory.close()


Lending.TestCase.settings = settings(deadline=None, max_examples=40)  # the machine may be busy
TestLending = Lending.TestCase
