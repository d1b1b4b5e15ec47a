"""Sizes and durations: what is taken, what is refused, and that formatting loses nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.values.units import about, format_cpu, format_duration, format_size, parse_cpu, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("1k", 1000),
        ("1K", 1000),
        ("1Ki", 1024),
        ("1ki", 1024),
        ("512Mi", 512 * 1024**2),
        ("512MiB", 512 * 1024**2),
        ("16 Gi", 16 * 1024**3),
        ("1.5Gi", 3 * 1024**3 // 2),
        ("1G", 10**9),
        ("1.0001k", 1000),
        ("2T", 2 * 10**12),
        ("1Pi", 1024**5),
    ],
)
def test_size(text: object, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gi",
        "16gi",
        "16m",
        "16 g",
        "-1",
        "-1Gi",
        "1.Gi",
        ".5Gi",
        "1e3",
        "1 Gi b",
        "\u0661Gi",
        -1,
        1.5,
        True,
        None,
        [],
    ],
)
def test_no_size(text: object):
    with pytest.raises(ValueError, match="expected a size such as"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0),
        (30, 30),
        (0.25, 0.25),
        ("30", 30),
        ("30s", 30),
        ("30 s", 30),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2m", 120),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1d", 86400),
        ("1m500ms", 60.5),
    ],
)
def test_duration(text: object, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "30 sec",
        "30x",
        "-1s",
        "1s-",
        "m1",
        "1..5s",
        "\u0661s",
        "1e999s",
        -1,
        -0.5,
        math.inf,
        math.nan,
        10**400,
        True,
        None,
    ],
)
def test_no_duration(text: object):
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.5, "500ms"), (90.0, "90s"), (120, "2m"), (7200.0, "2h"), (1e-7, "1e-07s")]
)
def test_durations_are_written_as_people_do(seconds: float, text: str):
    assert format_duration(seconds) == text


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**70))
def test_formatting_a_size_is_exact(size: int):
    assert parse_size(format_size(size)) == size


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 999), st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_a_size_that_was_written_short_is_shown_short(count: int, unit: str):
    assert len(format_size(parse_size(f"{count}{unit}"))) <= len(f"{count}{unit}")


@settings(deadline=None)  # the machine may be busy
@given(st.floats(0, 1e15) | st.integers(0, 10**12) | st.integers(0, 10**6).map(lambda ms: ms / 1000))
def test_formatting_a_duration_is_exact(seconds: float):
    assert parse_duration(format_duration(seconds)) == seconds


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=10), st.sampled_from([parse_size, parse_duration]))
def test_any_text_is_a_value_or_a_clear_refusal(text: str, parse: Callable[[object], float]):
    try:
        value = parse(text)
    except ValueError as error:
        refusal = str(error)
        value = 0 if refusal.startswith("expected a") else -1
    assert value >= 0


@pytest.mark.parametrize(
    ("said", "cores"), [(2, 2), (0.5, 0.5), ("500m", 0.5), ("2", 2), ("1.5", 1.5), ("1m", 0.001), (1e-3, 0.001)]
)
def test_cpu(said: object, cores: float):
    assert parse_cpu(said) == cores


@pytest.mark.parametrize(
    "said", [0, -1, "0", "0m", "-1", "1.5m", "m", "", "two", "2 ", "1e-9", math.inf, math.nan, 10**400, True, None, []]
)
def test_no_cpu(said: object):
    with pytest.raises(ValueError, match="expected a number of cores such as 2"):
        parse_cpu(said)


@given(st.integers(1, 10**8))
def test_formatting_a_cpu_share_is_exact(thousandths: int):
    assert parse_cpu(format_cpu(thousandths / 1000)) == thousandths / 1000


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1023, "1023"), (1024, "1Ki"), (2345678901, "2.185Gi"), (1 << 60, "1024Pi")]
)
def test_about(size: int, text: str):
    assert about(size) == text
