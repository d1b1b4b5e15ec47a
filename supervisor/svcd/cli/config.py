"""`svcd config`: what is in force, and who said so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import EXIT_FAILURE, app_options, connect, documents_of, fail, places_of, sources_of
from svcd.cli.graph import graph_of
from svcd.config import ConfigError
from svcd.config.explain import Explanation
from svcd.config.show import as_lines, as_toml, as_tree, select
from svcd.config.show import explained as explained_json

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.config import Sources


@click.command("config")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--explain", is_flag=True, help="Show what every layer says, where, and which one is in force.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@app_options
def command(
    keys: tuple[str, ...],
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    *,
    explain: bool,
    as_json: bool,
) -> None:
    """Print the values in force, as TOML; of all keys, or of those that begin with KEY.

    KEY is written as in --set: services.Classifier.scaling, say. No secret is shown. While the app runs, the values
    include what `svcd scale` has set.
    """
    sources = sources_of(files, profile, sets)
    documents = documents_of(sources)
    graph, python = graph_of(documents)
    if scaled := {name: count for name, count in _scaled(sources).items() if name in graph["services"]}:
        documents = documents_of(replace(sources, scaled=scaled))
    explanation = Explanation(documents, graph, python)
    shown = explanation.all()
    if keys:
        try:
            shown = select(shown, keys)
        except ValueError as error:
            fail(str(error))
    if explain:
        click.echo(json.dumps(explained_json(shown), indent=2) if as_json else "\n".join(as_lines(shown)))
    else:
        click.echo(json.dumps(as_tree(shown), indent=2) if as_json else "\n".join(as_toml(shown)))
    if explanation.problems:
        fail(f"there is something wrong with it:\n{ConfigError(explanation.problems)}", EXIT_FAILURE)


def _scaled(sources: Sources) -> dict[str, Any]:
    """Return what `svcd scale` has set in the running app; nothing when it does not run."""
    from svcd_ipc.errors import CallError  # noqa: PLC0415 - --help does without

    daemon = connect(places_of(sources))
    if daemon is None:
        return {}
    with daemon:
        try:
            scaled: dict[str, Any] = daemon.call("scaled", {}, timeout=10)
        except CallError as error:
            click.echo(f"svcd: what svcd scale has set is not known: {error}", err=True)
            return {}
    return scaled
