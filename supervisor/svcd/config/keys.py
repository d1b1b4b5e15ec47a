"""What a key of the configuration is, and the tables that keys stand in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svcd.config.kinds import Kind

KeyPath = tuple[str, ...]
"""The parts of a key, from the root of a file; also with `*` for chosen names."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: how its value is read, what it is when nobody sets it, and what it does."""

    path: str
    kind: Kind
    help: str
    default: Any = None
    default_text: str = ""
    """Says the default where it is no constant."""
    follows: str = ""
    """The path of the key whose value stands for this one while nobody sets it."""
    required: bool = False
    in_decorator: bool = True
    """Whether `@svcd.service(...)` may set it."""
    of: str = ""
    """`class` or `command` where it means something to services of that kind only."""


@dataclass(slots=True, eq=False)
class Table:
    """A table of keys: fixed ones, or one shape for every name that the user chooses."""

    children: dict[str, Table | Key] = field(default_factory=dict)
    named: Table | Key | None = None
    """What stands under each name, where names are free."""

    def child(self, name: str) -> Table | Key | None:
        """Return what `name` leads to, or None when the table can't have it."""
        return self.named or self.children.get(name)

    def words(self, *, is_inner: bool = False) -> dict[str, str]:
        """Return the keys of this table and of the tables in it, each with how it is written from here.

        Keys of command services in inner tables are left out: most people's `http` is that of `[app]`.
        """
        deeper = {
            word: f"{name}.{written}"
            for name, node in self.children.items()
            if isinstance(node, Table)
            for word, written in node.words(is_inner=True).items()
        }
        left_out = "command" if is_inner else None
        return deeper | {name: name for name, node in self.children.items() if getattr(node, "of", "") != left_out}

    def grow(self, name: str) -> Table:
        """Return the table below `name`, which may be `*`; make it when it is not there."""
        table = self.named if name == "*" else self.children.get(name)
        if not isinstance(table, Table):
            table = Table()
            if name == "*":
                self.named = table
            else:
                self.children[name] = table
        return table
