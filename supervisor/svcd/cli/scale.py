"""`svcd scale SERVICE=N`: change how many replicas run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, EXIT_USAGE, app_options, call_errors, daemon_of, fail, sources_of
from svcd.values.specs import MOST_REPLICAS

if TYPE_CHECKING:
    from pathlib import Path


@click.command("scale")
@click.argument("targets", nargs=-1, required=True, metavar="SERVICE=N...")
@app_options
def command(targets: tuple[str, ...], files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...]) -> None:
    """Change how many replicas of a service run, until the app is stopped; the file stays as it is.

    More are started at once; fewer means that the newest finish the calls they have, then stop.
    """
    wanted = [_parse(target) for target in targets]
    with call_errors(), daemon_of(sources_of(files, profile, sets)) as daemon:
        for service, replicas in wanted:
            answer = daemon.call("scale", {"service": service, "replicas": replicas}, timeout=10)
            if "unknown" in answer:
                fail(f"no service {service}; this app has {', '.join(answer['services'])}", EXIT_NO_SUCH_SERVICE)
            others = [name for name in answer["shared_by"] if name != answer["service"]]
            shared = f", with {' and '.join(others)} in its process" if others else ""
            click.echo(f"{answer['service']}: {answer['before']} -> {answer['after']} replicas{shared}")


def _parse(target: str) -> tuple[str, int]:
    service, _, count = target.partition("=")
    if not service or not re.fullmatch("0*[1-9][0-9]{,3}", count) or int(count) > MOST_REPLICAS:
        fail(f"{target!r} is not SERVICE=N with N from 1 to {MOST_REPLICAS}, such as Classifier=2", EXIT_USAGE)
    return service, int(count)
