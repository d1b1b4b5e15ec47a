"""What the commands share that look at the app's code: its graph, read by a child and not by this process."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import fail
from svcd.config import ConfigError, check_box, placed, resolve
from svcd.values.errors import DiscoveryError, SettingsError

if TYPE_CHECKING:
    from svcd.config import Documents
    from svcd.values.inventory import Inventory
    from svcd.values.specs import AppSpec


def graph_of(documents: Documents) -> tuple[dict[str, Any], str]:
    """Return the dependency graph and the default interpreter, or end the command with the reason why not."""
    from svcd.daemon import read_graph  # noqa: PLC0415 - --help does without
    from svcd.host.program import Program  # noqa: PLC0415 - as above

    try:
        program = Program.this(documents.app_python)
        with tempfile.TemporaryDirectory(prefix="svcd-graph-") as workdir:
            return read_graph(documents, program, workdir), program.python
    except (ConfigError, DiscoveryError, OSError) as error:
        fail(str(error))


def app_of(documents: Documents, *, for_this_box: bool = False) -> AppSpec:
    """Return the whole app as it is to run, or end the command with all that is wrong with it.

    `for_this_box` also compares what services ask for with what the machine has and permits. That it has no GPUs is
    said, but is no error, as what needs none runs all the same.
    """
    graph, python = graph_of(documents)
    try:
        app = resolve(documents, graph, default_python=python)
        if for_this_box and (needing := [it.name for it in app.services.values() if it.resources.gpu]):
            inventory = read_inventory()
            check_box(documents, graph, inventory)
            if not inventory.gpus:
                click.echo(
                    f"svcd: no GPUs here, so {', '.join(needing)} will stay pending: {inventory.problem}", err=True
                )
        if for_this_box:
            _check_here(documents, graph, app)
    except ConfigError as error:
        fail(str(error))
    return app


def _check_here(documents: Documents, graph: dict[str, Any], app: AppSpec) -> None:
    from svcd.daemon import check_here  # noqa: PLC0415 - it imports psutil, which --help does without

    try:
        check_here(app)
    except SettingsError as error:
        raise placed(documents, graph, error.found) from None


def read_inventory() -> Inventory:
    """Return the GPUs of this box, or end the command with the reason why they cannot be read."""
    from svcd.host.gpus import read_inventory_blocking  # noqa: PLC0415 - it imports trio, which --help does without
    from svcd.host.program import gpu_reader, part_environment  # noqa: PLC0415 - as above

    try:
        return read_inventory_blocking(gpu_reader(), env=part_environment())
    except OSError as error:
        fail(f"the GPU reader cannot be started: {error}")
