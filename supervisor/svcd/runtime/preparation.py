"""From the configuration to the app as it is to run on this machine: graph read, all checked, HTTP address bound."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from svcd import __version__
from svcd.config import check_box, placed, resolve
from svcd.host.gpus import read_inventory
from svcd.host.program import part_environment
from svcd.runtime.ingress import with_ingress
from svcd.runtime.launch import HTTP_SOCKET
from svcd.runtime.reading import read_graph
from svcd.runtime.settings import check_settings
from svcd.values.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.config import Documents
    from svcd.host.limits import Descriptors
    from svcd.host.program import Program
    from svcd.runtime.processes import Processes
    from svcd.values.places import Places
    from svcd.values.specs import AppSpec


async def prepare(
    documents: Documents,
    *,
    program: Program,
    places: Places,
    processes: Processes,
    descriptors: Descriptors,
    tell: Callable[[str], None],
) -> AppSpec:
    """Return the app, the ingress included. Raises ConfigError and DaemonError: no graph, no HTTP address.

    Args:
        documents: The configuration.
        program: What svcd itself runs under.
        places: The app's directories.
        processes: Of the keeper, which binds the address and runs the children that read the graph.
        descriptors: The limit that svcd was started with.
        tell: Takes a line for people when it takes long.
    """
    graph = await read_graph(
        documents,
        python=program.python,
        places=places,
        processes=processes,
        environ=os.environ,
        descriptors=descriptors,
        tell=tell,
    )
    app = resolve(documents, graph, default_python=program.python)
    try:
        check_settings(app)
    except SettingsError as error:
        raise placed(documents, graph, error.found) from None
    if any(service.resources.gpu_type for service in app.services.values()):
        check_box(documents, graph, await read_inventory(program.nvml, env=part_environment()))
    host, port = await processes.listen(HTTP_SOCKET, app.http.host, app.http.port)
    return with_ingress(app, host, port, python=program.python, version=__version__)
