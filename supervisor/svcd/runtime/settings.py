"""What services ask for that this machine, or whoever runs svcd, can't give: found before anything is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.host.limits import too_high
from svcd.host.users import NotPermittedError, UnknownUserError, find_user
from svcd.policy.placement import Shortage
from svcd.policy.shares import share_cpus, share_memory
from svcd.values.errors import SettingsError
from svcd.values.specs import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from svcd.values.machine import Machine
    from svcd.values.specs import AppSpec, Process, ServiceSpec

    _Found = tuple[tuple[str, ...], str]


def check_settings(app: AppSpec) -> None:
    """Raise SettingsError with all that can't be had."""
    _raise(_unpermitted(app))


def check_here(app: AppSpec, machine: Machine) -> None:
    """Raise SettingsError also with what is not here now: folders, and shares of the machine."""
    problems = _unpermitted(app)
    oneshots = {name for name, service in app.services.items() if service.command and service.command.is_oneshot}
    for service in app.services.values():
        problems += _of(service, _not_here(service, machine))
        if oneshots.isdisjoint(service.after):  # else one of them may be what makes it
            problems += _of(service, _no_program(service, app.root))
    _raise(problems)


def _raise(problems: list[_Found]) -> None:
    if problems:
        raise SettingsError("\n".join(f"{'.'.join(path)}: {message}" for path, message in problems), tuple(problems))


def _of(service: ServiceSpec, problems: Iterable[tuple[str, str]]) -> list[_Found]:
    return [(("services", service.name, *key.split(".")), message) for key, message in problems]


def _unpermitted(app: AppSpec) -> list[_Found]:
    privileged = os.geteuid() == 0
    return [
        problem
        for service in app.services.values()
        for problem in _of(service, (*_problems(service.process, privileged=privileged), *_not_found(service)))
    ]


def _not_here(service: ServiceSpec, machine: Machine) -> Iterator[tuple[str, str]]:
    cwd, wanted = service.process.cwd, service.resources
    if cwd and not Path(cwd).is_dir():
        yield "cwd", f"{cwd}: {'not a folder' if Path(cwd).exists() else 'no such folder'}"
    if wanted.cpu is not None and isinstance(shortage := share_cpus(wanted.cpu, machine, (), None), Shortage):
        yield "resources.cpu", shortage.reason
    if wanted.memory is not None and (lacking := share_memory(wanted.memory, machine, ())) is not None:
        yield "resources.memory", lacking.reason


def _no_program(service: ServiceSpec, root: Path) -> Iterator[tuple[str, str]]:
    """A program that is named by its path, and can't be executed there."""
    if service.command is None or "/" not in service.command.argv[0] or "{" in service.command.argv[0]:
        return
    program = Path(service.process.cwd or root, service.command.argv[0])
    if not program.is_file():
        yield "command", f"{program}: {'not a file' if program.exists() else 'no such file'}"
    elif not os.access(program, os.X_OK):
        yield "command", f"{program}: not executable; `chmod +x` makes it so"


def user_ids(process: Process) -> list[int]:
    """Whom a service's processes become, as `Spawn.user`; [] for svcd's own user. Raises SettingsError."""
    if not (process.user or process.group):
        return []
    try:
        return find_user(process.user, process.group).ids_to_become()
    except (UnknownUserError, NotPermittedError) as error:
        raise SettingsError(str(error)) from None


def _not_found(service: ServiceSpec) -> Iterator[tuple[str, str]]:
    """A program that its environment has no path to; one that is named by its path may come to be there yet."""
    if service.command is None or "/" in service.command.argv[0] or "{" in service.command.argv[0]:
        return
    path = service.envs.get("PATH", os.environ.get("PATH"))
    program = service.command.argv[0]
    if shutil.which(program, path=path) is None:
        yield "command", f"{program}: not found on the PATH of its environment ({path}); name it by its path"


def _problems(process: Process, *, privileged: bool) -> Iterator[tuple[str, str]]:
    try:
        user_ids(process)
    except SettingsError as error:
        yield "user" if process.user else "group", str(error)
    if process.nice < 0 and not privileged:
        yield "nice", f"{process.nice} is above the usual priority, which only root may give; say 0 or more"
    for name, hard in too_high(process.rlimits, privileged=privileged).items():
        wanted = process.rlimits[name]
        said = "unlimited" if wanted == UNLIMITED else wanted
        yield f"rlimits.{name}", f"{said} is above svcd's own hard limit of {hard}, which only root may exceed"
