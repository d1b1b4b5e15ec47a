"""docs/cli.md has every command, option and exit code that there is, and no other."""

from __future__ import annotations

import re

import click
import pytest
from doc_blocks import ROOT

from svcd.cli import common
from svcd.cli.main import cli
from svcd.session import EXIT_LEFT

PAGE = (ROOT / "docs" / "cli.md").read_text()
_SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
SECTIONS = dict(_SECTION.findall(PAGE))
CONTEXT = click.Context(cli)
COMMANDS = cli.list_commands(CONTEXT)
_OF_EVERY_APP = {"--file", "--profile", "--set"}


def documented(section: str) -> set[str]:
    """Return the options in the first column of a section's table."""
    cells = re.findall(r"^\| (`-.*?) \|", SECTIONS[section], re.MULTILINE)
    return {flag for cell in cells for flag in re.findall(r"(?<![\w-])--?[a-z-]+", cell)}


def offered(command: click.Command) -> set[str]:
    """Return the options of a command, those of its own commands included."""
    flags = {
        flag
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for flag in parameter.opts
    }
    commands = command.commands.values() if isinstance(command, click.Group) else ()
    return flags.union(*map(offered, commands))


def test_every_command_has_its_section() -> None:
    assert [title.removeprefix("svcd ") for title in SECTIONS if title.startswith("svcd ")] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    found = offered(command)
    if found >= _OF_EVERY_APP:
        # `-f` belongs to them, unless the command has another use for it and documents that.
        found -= _OF_EVERY_APP | ({"-f"} - documented(f"svcd {name}"))
    assert documented(f"svcd {name}") == found


def test_the_options_of_every_app_are_documented() -> None:
    assert documented("Which app") == _OF_EVERY_APP | {"-f"}


def test_every_exit_code_is_documented() -> None:
    codes = {value for name, value in vars(common).items() if name.startswith("EXIT_")}
    documented = set(map(int, re.findall(r"^\| (\d+) \|", SECTIONS["Exit codes"], re.MULTILINE)))
    assert documented == codes | {0, EXIT_LEFT}
