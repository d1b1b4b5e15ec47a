"""`svcd check`: is the configuration right, and can the graph be read?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from svcd.cli.common import app_options, documents_of, sources_of
from svcd.cli.graph import app_of
from svcd.values.places import places
from svcd.values.secrets import NOT_SHOWN, veil

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.values.specs import AppSpec, Http, ServiceSpec


@click.command("check")
@app_options
@click.option("--json", "as_json", is_flag=True, help="Print the whole app as JSON; secrets are not shown.")
def command(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """Check the file and read the dependency graph; start nothing."""
    app = app_of(documents_of(sources_of(files, profile, sets)), for_this_box=True)
    if as_json:
        click.echo(json.dumps(asdict(_redacted(app)) | {"root": str(app.root)}, indent=2))
    else:
        _print(app)


def _redacted(app: AppSpec) -> AppSpec:
    services = {}
    for name, service in app.services.items():
        hidden = dict.fromkeys(service.secret_envs, NOT_SHOWN)
        # A URL may have a password in it.
        command = service.command and replace(service.command, url=veil(service.command.url, ()))
        services[name] = replace(service, envs={**service.envs, **hidden}, command=command)
    return replace(app, services=services)


def _print(app: AppSpec) -> None:
    click.echo(f"{app.name}: {len(app.services)} services, entry {app.entry}, http {_address(app.http)}")
    for service in app.services.values():
        click.echo(_line(service))
    if tasks := [api.name for api in app.services[app.entry].apis if api.is_task]:
        store = app.tasks.store or places(app.name, os.environ, os.getuid()).tasks
        click.echo(f"  {app.entry}'s tasks {', '.join(tasks)} are kept in {store}")
    for group in app.groups:
        click.echo(f"  {' and '.join(group)} share a process")


def _address(http: Http) -> str:
    host = f"[{http.host}]" if ":" in http.host else http.host
    return f"{host}:{http.port}"


def _line(service: ServiceSpec) -> str:
    count = service.scaling.min_replicas
    kind = "a oneshot" if service.command and service.command.is_oneshot else "a program" if service.command else ""
    needs = [f"{count} replica{'s' if count > 1 else ''}"]
    if service.resources.gpu:
        needs.append(f"{service.resources.gpu} GPU{'s' if service.resources.gpu > 1 else ''} each")
    calls = ", ".join(edge.service for edge in service.dependencies)
    after = f"after {', '.join(service.after)}" if service.after else ""
    parts = [", ".join(needs), ", ".join(filter(None, (kind, after))), f"calls {calls}" if calls else ""]
    return f"  {service.name}: {'; '.join(filter(None, parts))}"
