"""`svcd schema`: what editors need to know of `svcd.toml`."""

from __future__ import annotations

import json

import click

from svcd.config.json_schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of svcd.toml, by which editors complete and check it.

    `svcd schema > svcd.schema.json`, and `#:schema ./svcd.schema.json` as the first line of svcd.toml.
    """
    click.echo(json.dumps(json_schema(), indent=2))
