"""The dependency graph as the daemon reads it: one short-lived child of its keeper after the other.

User code is imported there, so it may take long, hang or crash; the error says where.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from svcd.config import resolve
from svcd.host.sockets import make_folder, open_to_users
from svcd.runtime.discovery import LAST_WORDS, LIMIT, readings, stuck
from svcd.runtime.launch import discovery_order
from svcd.runtime.reports import take_report
from svcd.runtime.settings import user_ids
from svcd.values.errors import DiscoveryError, SettingsError
from svcd.values.orders import Exited, SpawnFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from svcd.config import Documents
    from svcd.host.limits import Descriptors
    from svcd.runtime.discovery import Reading
    from svcd.runtime.processes import Processes
    from svcd.values.orders import Spawn
    from svcd.values.places import Places

SLOW = 5.0
"""Seconds of importing after which people are told what is being waited for."""


async def read_graph(
    documents: Documents,
    *,
    python: str,
    places: Places,
    processes: Processes,
    environ: Mapping[str, str],
    descriptors: Descriptors,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Return the graph. Raises DiscoveryError.

    Args:
        documents: The configuration; it names the entry and the interpreters.
        python: Interpreter where it names none.
        places: The app's directories.
        processes: Of the keeper.
        environ: The daemon's own variables.
        descriptors: The limit that svcd was started with.
        tell: Takes a line for people when it takes long.
    """
    reading = readings(documents, python, lambda graph: resolve(documents, graph, default_python=python))
    request = next(reading)
    number = 0
    while True:
        number += 1
        user = _user_of(request)
        path = _place_for_report(places, number, user)
        order = discovery_order(number, request, str(documents.root), path, places, environ)
        order = replace(order, user=user, rlimits={"nofile": [*descriptors]})
        ended = await _read_one(order, request, processes, tell)
        try:
            request = reading.send(take_report(path, request, ended.code, ended.last_lines))
        except StopIteration as finished:
            graph: dict[str, Any] = finished.value
            return graph


def _user_of(request: Reading) -> list[int]:
    """Whom the child becomes. An svcd that may not do that reads first, and then says all that it can't do."""
    if os.geteuid() != 0:
        return []
    try:
        return user_ids(request.process)
    except SettingsError as error:
        raise SettingsError(f"cannot import {', '.join(request.targets)} as its user: {error}") from None


def _place_for_report(places: Places, number: int, user: Sequence[int]) -> str:
    """Return a path that the child can write to; it goes with all that is in the folder of sockets."""
    if not user:
        return f"{places.data_sockets}/graph{number}.json"
    open_to_users(places)
    folder = Path(places.data_sockets) / f"graph{number}"
    make_folder(folder, user[0])
    return f"{folder}/graph.json"


async def _read_one(order: Spawn, request: Reading, processes: Processes, tell: Callable[[str], None]) -> Exited:
    is_stuck = False

    async def watch() -> None:
        nonlocal is_stuck
        await trio.sleep(SLOW)
        tell(f"still {request.work}; `svcd logs discovery` shows what it prints")
        await trio.sleep(LIMIT - SLOW)
        is_stuck = True
        processes.signal(order.id, signal.SIGQUIT)  # it prints the stacks of its threads, see worker/boot.py
        await trio.sleep(LAST_WORDS)
        processes.kill(order.id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        ended = await processes.run_to_end(order)
        nursery.cancel_scope.cancel()
    if isinstance(ended, SpawnFailed):
        raise DiscoveryError(ended.message)
    if is_stuck:
        raise stuck(request, ended.last_lines)
    return ended
