"""The state diagram of docs/operating.md, made from the lifecycle table.

`python tests/docs/lifecycle_diagram.py` renews it.
"""

from __future__ import annotations

from pathlib import Path

from svcd.policy.lifecycle import TABLE, State

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
BEGIN = "<!-- lifecycle: made by `python tests/docs/lifecycle_diagram.py` -->"
END = "<!-- end of lifecycle -->"


def diagram() -> str:
    """Return the table as a mermaid state diagram: changes of state only, those between the same two on one arrow."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for before, row in TABLE.items():
        for happening, transition in row.items():
            if transition is not None and transition.state is not before:
                arrows.setdefault((before, transition.state), []).append(str(happening))
    lines = [f"    {before} --> {after}: {', '.join(words)}" for (before, after), words in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> pending", *lines, "    stopped --> [*]", "```"])


def renewed(page: str) -> str:
    """Return the page with the diagram of today's table."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n\n{diagram()}\n\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
