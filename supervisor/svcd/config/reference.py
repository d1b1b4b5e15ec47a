"""Writes the reference of all keys from the schema.

`python -m svcd.config.reference docs/configuration.md` renews it there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from svcd.config import schema

BEGIN = "<!-- keys: made by `python -m svcd.config.reference docs/configuration.md` -->"
END = "<!-- end of keys -->"

_SECTIONS = (
    ("app", "[app]", ""),
    (
        "services",
        "[services.NAME]",
        "`NAME` is the name of a service of the app: that of its class, or of a program that `command` makes one.",
    ),
    ("instance_types", '[instance_types."NAME"]', "A shape of resources that services take by name."),
)


def markdown() -> str:
    """Return the tables of all keys."""
    return "\n\n".join(_section(*section) for section in _SECTIONS) + "\n"


def _section(first: str, title: str, about: str) -> str:
    rows = [_row(key) for key in schema.KEYS if key.path.split(".")[0] == first]
    head = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([f"### `{title}`", "", *([about, ""] if about else []), *head, *rows])


def _row(key: schema.Key) -> str:
    name = key.path.removeprefix("app.").removeprefix("services.*.").removeprefix("instance_types.*.")
    name = name.replace("*", "NAME")
    default = key.default_text or (f"`{key.kind.write(key.default)}`" if key.default is not None else "")
    return f"| `{name}` | {key.kind.label()} | {'required' if key.required else default} | {key.help} |"


def renewed(page: str) -> str:
    """Return a page with what stands between its marks replaced. Raises ValueError when it has no marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text("utf-8")), "utf-8")
