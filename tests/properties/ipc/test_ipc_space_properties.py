"""The parts of an arena: never two that overlap, none lost, and room is found wherever there is enough in one piece."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from svcd_ipc.space import PAGE, Space

PAGES = 40


class Taking(RuleBasedStateMachine):
    """Takes and gives back in any order, beside a model: which part owns each page."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space(PAGES * PAGE + 17)  # what is no whole page is left out
        self.pages: list[int | None] = [None] * PAGES
        self.most = self.highest = 0

    def taken(self) -> int:
        return sum(owner is not None for owner in self.pages)

    def longest_free(self) -> int:
        runs = "".join("." if owner is None else "x" for owner in self.pages).split("x")
        return max(map(len, runs))

    @rule(size=st.integers(0, (PAGES + 2) * PAGE))
    def take(self, size: int) -> None:
        wanted = max(1, -(-size // PAGE))
        start = self.space.take(size)
        if start is None:
            assert wanted > self.longest_free()
            return
        assert start % PAGE == 0
        first = start // PAGE
        assert self.pages[first : first + wanted] == [None] * wanted
        # No lower place would have done.
        free = [all(owner is None for owner in self.pages[at : at + wanted]) for at in range(first)]
        assert not any(free)
        self.pages[first : first + wanted] = [start] * wanted
        self.most = max(self.most, self.taken())
        self.highest = max(self.highest, first + wanted)

    @precondition(lambda self: any(owner is not None for owner in self.pages))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        start = data.draw(st.sampled_from(sorted({owner for owner in self.pages if owner is not None})))
        self.space.give_back(start)
        self.pages = [None if owner == start else owner for owner in self.pages]

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.space.used == PAGE * self.taken()
        assert self.space.most == PAGE * self.most
        assert self.space.reached == PAGE * self.highest

    def teardown(self) -> None:
        for start in {owner for owner in self.pages if owner is not None}:
            self.space.give_back(start)
        assert self.space.take(PAGES * PAGE) == 0  # all of it in one piece again


TestTaking = Taking.TestCase


@given(st.integers(0, 3 * PAGE), st.integers(1, 3 * PAGE))
def test_never_more_than_there_is(size: int, wanted: int) -> None:
    space = Space(size)
    found = 0
    while space.take(wanted) is not None:
        found += 1
    assert found == size // PAGE // -(-wanted // PAGE)


@given(st.integers(1, 9), st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=200))
def test_parts_of_one_size_reach_what_was_taken_at_one_time(pages: int, steps: list[tuple[bool, int]]) -> None:
    space = Space(10_000 * PAGE)
    taken: list[int] = []
    for is_take, number in steps:
        if is_take or not taken:
            start = space.take(pages * PAGE)
            assert start is not None
            taken.append(start)
        else:
            space.give_back(taken.pop(number % len(taken)))
    assert space.reached == space.most


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 100)), max_size=400))
def test_parts_of_many_sizes_reach_a_bounded_multiple(steps: list[tuple[bool, int, int]]) -> None:
    """The law of the module, for sizes of 1 to 64 pages."""
    space = Space(1_000_000 * PAGE)
    taken: list[int] = []
    for is_take, power, number in steps:
        if is_take or not taken:
            start = space.take(PAGE << power)
            assert start is not None
            taken.append(start)
        else:
            space.give_back(taken.pop(number % len(taken)))
    assert space.reached <= 6 * space.most + 64 * PAGE
