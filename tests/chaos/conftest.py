"""Figures of the chaos tests: measured, shown after the run, never asserted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_FIGURES = pytest.StashKey[dict[str, list[float]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for them."""
    config.stash[_FIGURES] = defaultdict(list)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """`measured(what, seconds)`: note a figure for the summary."""

    def note(what: str, seconds: float) -> None:
        request.config.stash[_FIGURES][what].append(seconds)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the middle and the largest of each."""
    figures = config.stash[_FIGURES]
    if figures:
        terminalreporter.section("chaos: seconds", sep="-")
    for what, seconds in sorted(figures.items()):
        ordered = sorted(seconds)
        middle = ordered[len(ordered) // 2]
        terminalreporter.line(f"{what:<60} median {middle:.2f}, max {ordered[-1]:.2f} of {len(ordered)}")
