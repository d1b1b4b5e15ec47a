"""`svcd check`: is the configuration right, and can the graph be read?"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from svcd.cli.common import app_options, documents_of, fail, sources_of
from svcd.config import ConfigError, resolve
from svcd.values.errors import DiscoveryError

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.values.specs import AppSpec, ServiceSpec


@click.command("check")
@app_options
@click.option("--json", "as_json", is_flag=True, help="Print the whole app as JSON.")
def command(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """Check the file and read the dependency graph; start nothing."""
    from svcd.daemon import read_graph  # noqa: PLC0415 - --help does without
    from svcd.host.program import Program  # noqa: PLC0415

    documents = documents_of(sources_of(files, profile, sets))
    try:
        program = Program.this(documents.app_python)
        with tempfile.TemporaryDirectory(prefix="svcd-check-") as workdir:
            graph = read_graph(documents, program, workdir)
        app = resolve(documents, graph, default_python=program.python)
    except (ConfigError, DiscoveryError, OSError) as error:
        fail(str(error))
    if as_json:
        click.echo(json.dumps(asdict(app) | {"root": str(app.root)}, indent=2))
    else:
        _print(app)


def _print(app: AppSpec) -> None:
    click.echo(f"{app.name}: {len(app.services)} services, entry {app.entry}, http {app.http.host}:{app.http.port}")
    for service in app.services.values():
        click.echo(_line(service))


def _line(service: ServiceSpec) -> str:
    count = service.scaling.min_replicas
    needs = [f"{count} replica{'s' if count > 1 else ''}"]
    if service.resources.gpu:
        needs.append(f"{service.resources.gpu} GPU{'s' if service.resources.gpu > 1 else ''} each")
    calls = ", ".join(edge.service for edge in service.dependencies)
    return f"  {service.name}: {', '.join(needs)}" + (f"; calls {calls}" if calls else "")
