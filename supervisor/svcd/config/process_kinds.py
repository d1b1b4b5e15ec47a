"""The kinds of value that the settings of a process have: CPU shares, masks, limits, and which services share one."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

from svcd.config.kinds import Duration, Kind, Size, Whole, Wrong, found, toml_text
from svcd.values.specs import UNLIMITED
from svcd.values.units import CPU_FORMS, format_cpu, parse_cpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Cores(Kind):
    """A share of the machine's CPUs, in cores."""

    def label(self) -> str:
        return "cores"

    def read(self, value: object) -> float:
        try:
            return parse_cpu(value)
        except ValueError:
            raise Wrong(f"expected {CPU_FORMS}; {found(value)}") from None

    def write(self, value: float) -> str:
        text = format_cpu(value)
        return text if text.isdigit() else f'"{text}"'

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "number", "minimum": 0.001}, {"type": "string", "pattern": r"^[0-9.]+m?$"}]}


class Mask(Kind):
    """A umask in octal digits. A number is refused: TOML has read `0o022` and `18` as the same before it comes here."""

    textual = True

    def label(self) -> str:
        return "octal digits in quotes"

    def read(self, value: object) -> int:
        if not isinstance(value, str) or re.fullmatch("[0-7]{1,4}", value) is None or int(value, 8) > 0o777:
            raise Wrong(f'expected octal digits in quotes, such as "022"; {found(value)}')
        return int(value, 8)

    def write(self, value: int) -> str:
        return f'"{value:03o}"'

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[0-7]{1,4}$"}


class Between(Kind):
    """A whole number within two bounds."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def label(self) -> str:
        return f"whole number from {self.least} to {self.most}"

    def read(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise Wrong(f"expected a {self.label()}; {found(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


class Limit(Kind):
    """A limit of setrlimit(2): what its measure reads, or `"unlimited"`."""

    measures: ClassVar[dict[str, Kind]] = {"number": Whole(0), "size": Size(zero=True), "time": Duration()}

    def __init__(self, measure: str) -> None:
        self.measure = measure

    def label(self) -> str:
        return f'{self.measure} or "unlimited"'

    def read(self, value: object) -> int:
        if value == "unlimited":
            return UNLIMITED
        try:
            measured: float = self.measures[self.measure].read(value)
        except Wrong as wrong:
            said, _, what = wrong.message.rpartition("; ")
            raise Wrong(f'{said}, or "unlimited"; {what}') from None
        return math.ceil(measured)

    def write(self, value: int) -> str:
        return '"unlimited"' if value == UNLIMITED else self.measures[self.measure].write(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"const": "unlimited"}, self.measures[self.measure].json_schema()]}


class Groups(Kind):
    """Groups of at least two services, none of them named twice."""

    def label(self) -> str:
        return "array of groups of services"

    def read(self, value: object) -> tuple[tuple[str, ...], ...]:
        if not isinstance(value, list):
            raise Wrong(f'expected an array of groups, such as [["Preprocess", "Vote"]]; {found(value)}')
        if value and all(isinstance(name, str) for name in value):
            raise Wrong(
                f"expected each group to be an array of services; {found(value[0])}", suggestion=self.write([value])
            )
        if mistakes := [*_mistakes(value)]:
            raise Wrong(mistakes[0], also=mistakes[1:])
        return tuple(tuple(group) for group in value)

    def write(self, value: Iterable[Iterable[str]]) -> str:
        groups = (", ".join(map(toml_text, group)) for group in value)
        return f"[{', '.join(f'[{group}]' for group in groups)}]"

    def json_schema(self) -> dict[str, Any]:
        names = {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True}
        return {"type": "array", "items": names}


def _mistakes(groups: list[object]) -> Iterator[str]:
    """Say all that is wrong with groups, in their order."""
    seen: set[str] = set()
    for group in groups:
        if not isinstance(group, list):
            yield f"expected each group to be an array of services; {found(group)}"
            continue
        names = [name for name in group if isinstance(name, str)]
        yield from (f"expected names of services in each group; {found(it)}" for it in group if it not in names)
        if len(group) < 2 and len(group) == len(names):
            alone = f"{names[0]} is alone in its group" if names else "a group is empty"
            yield f"{alone}; a group is at least two services, and what is in none has a process of its own"
        for name in names:
            if name in seen:
                yield f"{name} is named twice; a service runs in one process"
            seen.add(name)
