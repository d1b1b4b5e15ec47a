"""Durations as users write them on the command line."""

from __future__ import annotations

from typing import Any

import click

from svcd.values.units import LONGEST, parse_duration


class Duration(click.ParamType[float]):
    """Such as `10s`; a number alone is of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read one."""
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds > LONGEST:
            self.fail("expected a duration of at most 100 years", param, ctx)
        return seconds
