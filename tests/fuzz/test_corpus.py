"""What the fuzzer has found worth keeping, replayed; and the same promises with inputs of hypothesis's own."""

from __future__ import annotations

from pathlib import Path

import seeds
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
states = st.sampled_from([*seeds.STATES, 8])


def test_every_input_of_the_corpus() -> None:
    assert CORPUS
    for path in CORPUS:
        try:
            wire.run(path.read_bytes())
        except BaseException as error:
            error.add_note(f"input: {path}")
            raise


def test_every_seed() -> None:
    for seed in seeds.seeds():
        wire.run(seed)


@settings(deadline=None)  # the machine may be busy
@given(states, st.binary(min_size=4, max_size=4), st.integers(0, 2), st.binary(max_size=400))
def test_any_input(state: int, cuts: bytes, kind: int, data: bytes) -> None:
    wire.run(bytes((state, *cuts, kind)) + data)
