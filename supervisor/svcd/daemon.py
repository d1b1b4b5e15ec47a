"""The daemon's composition root: takes the app's directory, starts the keeper, runs the session, ends it all.

Law: whatever way this ends, nothing that the app started is left, and the runtime directory is gone.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from svcd.config import resolve
from svcd.host.keeper_process import end_keeper, start_keeper
from svcd.host.limits import raise_descriptors, write_no_cores
from svcd.host.log_files import LogFile, open_private
from svcd.host.program import part_environment
from svcd.host.sockets import RuntimeDirectory
from svcd.host.stop_signals import StopSignals
from svcd.host.takeover import KeptGuard, end_kept, no_longer_outlive, take_over
from svcd.values import boot
from svcd.values.garbage import imported_for_good

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from subprocess import Popen

    from svcd.config import Documents
    from svcd.host.program import Program
    from svcd.runtime.voice import Reporter
    from svcd.values.places import Places
    from svcd.values.specs import AppSpec


def up(documents: Documents, places: Places, program: Program, reporter: Reporter) -> int:
    """Run the app until it is stopped; return the exit code.

    To be called in the main thread, outside trio. Raises RuntimeDirectoryError (another daemon runs, no directory),
    ConfigError, and DaemonError: no graph, no HTTP address, a keeper that died.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        directory = stack.enter_context(RuntimeDirectory(places, str(documents.root)))
        descriptors = raise_descriptors()
        write_no_cores()
        # Not the terminal's, nor the pipe that whoever detached this waits on: the keeper may outlive both.
        with open_private(places.daemon_log) as log:
            guard: Popen[bytes] | KeptGuard
            if directory.is_left:
                guard, link = take_over(places.keeper)
            else:
                guard, link = start_keeper(program.keeper, runtime=places.runtime, env=part_environment(), stderr=log)
        at_last: list[Callable[[], None]] = []
        stack.callback(_do_all, at_last, directory)
        stack.callback(_end, directory, guard, link.dup(), documents.app_name)
        stack.callback(link.close)
        # Only now: the keeper boots while this imports trio, which is most of a start.
        with imported_for_good():
            session = import_module("svcd.session")
        means = session.Means(
            documents=documents,
            directory=directory,
            program=program,
            reporter=reporter,
            link=link,
            signals=signals,
            descriptors=descriptors,
            at_last=at_last,
            began=began,
        )
        code: int = session.run(means)
    return code


def _do_all(at_last: list[Callable[[], None]], directory: RuntimeDirectory) -> None:
    for each in () if directory.is_left else at_last:
        each()


def _end(directory: RuntimeDirectory, guard: Popen[bytes] | KeptGuard, link: socket, app: str) -> None:
    """End all that is left, unless it is to go on without this daemon, and say what could not be ended."""
    with link:
        if directory.is_left:
            return
        no_longer_outlive(link)
    if left := end_kept(guard, app) if isinstance(guard, KeptGuard) else end_keeper(guard):
        pids = ", ".join(map(str, left))
        text = f"svcd: left behind, since SIGKILL does not end them (they sleep uninterruptibly): processes {pids}"
        LogFile(directory.places.daemon_log).write([text])
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")


def read_graph(documents: Documents, program: Program, workdir: str) -> dict[str, Any]:
    """Read the dependency graph with children of this process, for `svcd check`. Raises DiscoveryError."""
    from svcd.host.child import StuckError, run_child  # noqa: PLC0415 - the daemon itself never runs children
    from svcd.runtime import discovery  # noqa: PLC0415 - as above
    from svcd.runtime.launch import discovery_environment, worker_argv  # noqa: PLC0415 - as above
    from svcd.runtime.reports import take_report  # noqa: PLC0415 - as above

    reading = discovery.readings(
        documents, program.python, lambda graph: resolve(documents, graph, default_python=program.python)
    )
    request = next(reading)
    while True:
        report = f"{workdir}/graph.json"
        document = boot.DiscoverBoot(
            root=str(documents.root), targets=request.targets, report=report, asked_by=request.asked_by
        )
        environment = discovery_environment(os.environ)
        try:
            code, lines = run_child(
                worker_argv(request.python),
                boot.dump(document),
                env=environment,
                cwd=documents.root,
                limit=discovery.LIMIT,
                last_words=discovery.LAST_WORDS,
            )
        except StuckError as error:
            raise discovery.stuck(request, error.lines) from None
        try:
            request = reading.send(take_report(report, request, code, lines))
        except StopIteration as finished:
            graph: dict[str, Any] = finished.value
            return graph


def check_here(app: AppSpec) -> None:
    """Raise SettingsError with all that this machine can't give the app now; for `svcd check`."""
    from svcd.host.cgroup_tree import Around  # noqa: PLC0415 - as above
    from svcd.host.machine import read_machine  # noqa: PLC0415 - as above
    from svcd.runtime import settings  # noqa: PLC0415 - as above

    settings.check_here(app, read_machine(Around.read().bounds()))


def planned_environment(app: AppSpec, service: str) -> tuple[dict[str, str], set[str]]:
    """Return what the first replica of a service would get, but for its GPUs, and which names are secret."""
    from svcd.policy.environment import secret_names  # noqa: PLC0415 - for `svcd env`; the daemon itself asks the app
    from svcd.policy.groups import units_of  # noqa: PLC0415 - as above
    from svcd.runtime.launch import replica_environment  # noqa: PLC0415 - as above

    units = units_of(app.services, app.groups).values()
    spec = next(unit for unit in units if service in {each.name for each in unit.all})
    variables = replica_environment(app, spec, f"{spec.name}/0#1", (), os.environ)
    return variables, secret_names(variables, spec)
