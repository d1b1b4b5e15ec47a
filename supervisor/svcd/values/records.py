"""Records of Python's `logging` among the plain output of a process: how a line tells which it is.

A record is a line that holds U+001E (the record separator of ASCII, which RFC 7464 puts before JSON texts too) and then
one JSON object: `level`, `logger`, `message`, and where there are any `trace` (the id of a W3C trace) and `exception`
(a whole traceback). What stands before the separator is output that was not ended by a newline.
"""

from __future__ import annotations

import json
from typing import NamedTuple

SEPARATOR = "\x1e"


class Record(NamedTuple):
    """What the service's code said through `logging`."""

    level: str
    """`WARNING`."""
    logger: str
    message: str
    trace: str = ""
    """32 hexadecimal digits; empty outside of calls."""
    exception: str = ""

    def text(self) -> str:
        """Return it for people; of several lines where message or traceback have several."""
        head = f"{self.level} {self.logger}: {self.message}" + (f" [trace {self.trace}]" if self.trace else "")
        return f"{head}\n{self.exception.rstrip()}" if self.exception else head


def write(record: Record) -> str:
    """Return the line of a record, without its newline."""
    fields = {name: value for name, value in record._asdict().items() if value}
    return SEPARATOR + json.dumps(fields, ensure_ascii=False)


def read(line: str) -> tuple[str, Record | None]:
    """Return the plain output of a line, and the record that ends it, if one does."""
    plain, separator, text = line.partition(SEPARATOR)
    if not separator:
        return line, None
    try:
        fields = json.loads(text)
        return plain, Record(**{name: str(fields.get(name, "")) for name in Record._fields})
    except (ValueError, AttributeError):
        return line, None


def plain_lines(line: str) -> list[str]:
    """Return a line of a log as the lines that people read."""
    plain, record = read(line)
    return ([plain] if plain or record is None else []) + (record.text().splitlines() if record else [])
