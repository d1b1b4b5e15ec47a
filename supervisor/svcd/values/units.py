"""Sizes, durations and CPU shares as people write them: `"16Gi"`, `"30s"`, `"500m"`, and back.

A size is a whole number of bytes, a duration a number of seconds, a CPU share a number of cores. Formatting is exact:
parsing what was formatted gives the same number.
"""

from __future__ import annotations

import math
import re

_BINARY = {"Pi": 1024**5, "Ti": 1024**4, "Gi": 1024**3, "Mi": 1024**2, "Ki": 1024}
_DECIMAL = {"P": 1000**5, "T": 1000**4, "G": 1000**3, "M": 1000**2, "k": 1000, "": 1}
_BYTES = {**_BINARY, **_DECIMAL, "K": 1000, "ki": 1024}
# A lower-case m, g or t is refused: elsewhere `m` means a thousandth, and a guess would be wrong by nine digits.
_SIZE = r"([0-9]+)(?:\.([0-9]+))? ?([kKMGTP]i?)?B?"

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PARTS = {"ms": 1000, "us": 1_000_000}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_DURATION_PART = rf"({_NUMBER})(ms|us|[dhms])"

SIZE_PATTERN = _SIZE
DURATION_PATTERN = rf"{_NUMBER}|(?:{_NUMBER} ?(?:ms|us|[dhms]) ?)+"
"""Regular expressions, in the dialect of JavaScript too, of the texts that are read; the latter knows no limit."""
SIZE_FORMS = 'a size such as "16Gi", "512Mi" or a number of bytes'
LONGEST = 100 * 365 * 86400.0
"""Seconds of the longest wait to ask for; not far beyond it clocks of the kernel and of Python overflow."""
LARGEST = 2**63 - 1
"""Bytes of the largest size that anybody may ask for: what the signed integers of files and databases hold."""
DURATION_FORMS = 'a duration such as 30, "30s", "500ms" or "2m"'
CPU_FORMS = 'a number of cores such as 2, 0.5 or "500m", at least "1m"'


def parse_size(value: object) -> int:
    """Return a size in bytes; parts of a byte are dropped. Raises ValueError saying what was expected."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if found is None or len(found[0]) > 100:  # Python refuses to read thousands of digits
        raise ValueError(f"expected {SIZE_FORMS}")
    whole, fraction = found[1], found[2] or ""
    scale = int("1" + "0" * len(fraction))
    return int(whole + fraction) * _BYTES[found[3] or ""] // scale


def format_size(size: int) -> str:
    """Return the shortest exact form; of two as short, the one in binary units."""
    if size == 0:
        return "0"
    forms = (f"{size // factor}{unit}" for unit, factor in {**_BINARY, **_DECIMAL}.items() if size % factor == 0)
    return min(forms, key=len)


def about(size: int) -> str:
    """Return a size to four digits, for people: what was measured is seldom round."""
    unit, factor = next(((unit, factor) for unit, factor in _BINARY.items() if size >= factor), ("", 1))
    return f"{size / factor:.4g}{unit}"


def parse_duration(value: object) -> float:
    """Return a duration in seconds. Raises ValueError saying what was expected."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = _to_float(value)
    elif isinstance(value, str) and re.fullmatch(_NUMBER, value):
        seconds = float(value)
    elif isinstance(value, str):
        seconds = _sum_of_parts(value.replace(" ", ""))
    else:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"expected {DURATION_FORMS}")
    return seconds


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the range of floats
        return math.inf


def _sum_of_parts(text: str) -> float:
    """Add up `1h30m`; NaN when the text is something else."""
    total, end = 0.0, 0
    for part in re.finditer(_DURATION_PART, text):
        if part.start() != end:
            return math.nan
        number = float(part[1])
        # Dividing gives the float nearest to 500ms and the like; multiplying by 0.001 would not.
        total += number / _PARTS[part[2]] if part[2] in _PARTS else number * _SECONDS[part[2]]
        end = part.end()
    return total if text and end == len(text) else math.nan


def format_duration(seconds: float) -> str:
    """Return an exact form in the unit a person would choose: `500ms`, `90s`, `2h`."""
    if seconds == 0:
        return "0s"
    if float(seconds).is_integer():
        whole = int(seconds)
        return next(f"{whole // factor}{unit}" for unit, factor in _SECONDS.items() if whole % factor == 0)
    whole_parts = ((round(seconds * parts), parts, unit) for unit, parts in _PARTS.items())
    return next((f"{count}{unit}" for count, parts, unit in whole_parts if count / parts == seconds), f"{seconds!r}s")


def parse_cpu(value: object) -> float:
    """Return a CPU share in cores, to the thousandth. Raises ValueError saying what was expected."""
    cores = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        cores = _to_float(value)
    elif isinstance(value, str) and re.fullmatch(_NUMBER, value):
        cores = float(value)
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}m", value):
        cores = int(value[:-1]) / 1000
    if not 0.001 <= cores < 1e6:
        raise ValueError(f"expected {CPU_FORMS}")
    return round(cores, 3)


def format_cpu(cores: float) -> str:
    """Return an exact form: `2`, `500m`, `1500m`."""
    return str(int(cores)) if float(cores).is_integer() else f"{round(cores * 1000)}m"
