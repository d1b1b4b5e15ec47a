"""What the commands share: which app is meant, how to reach its daemon, how errors end a command."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from svcd.config import ConfigError, Documents, Sources, read
from svcd.config.load import safe_name
from svcd.values.places import Places, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from svcd.link.blocking import BlockingClient

EXIT_FAILURE, EXIT_USAGE, EXIT_NOT_RUNNING, EXIT_NO_SUCH_SERVICE, EXIT_TIMED_OUT = 1, 2, 3, 4, 5

F = TypeVar("F", bound="Callable[..., Any]")


def app_options(command: F) -> F:
    """Add the options that say which app is meant: -f, --profile, --set."""
    return _with_app_options(command, "-f", "--file")


def app_options_without_f(command: F) -> F:
    """The same for a command whose -f means something else."""
    return _with_app_options(command, "--file")


def _with_app_options(command: F, *file_flags: str) -> F:
    for option in (
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override one value of the file."),
        click.option("--profile", metavar="NAME", help="Lay [profiles.NAME] over the file."),
        click.option(
            *(*file_flags, "files"),
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The app's TOML file, then others laid over it. [default: svcd.toml]",
        ),
    ):
        command = option(command)
    return command


def sources_of(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...]) -> Sources:
    """Return the sources of configuration that the options name."""
    return Sources(files=files or (Path("svcd.toml"),), profile=profile, sets=sets)


def words_of(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...]) -> list[str]:
    """Return the options as words of a command line that means the same from any folder."""
    words = [word for file in files for word in ("-f", str(file.absolute()))]
    words += ["--profile", profile] if profile is not None else []
    return words + [word for value in sets for word in ("--set", value)]


def documents_of(sources: Sources) -> Documents:
    """Read the configuration, or end the command with all that is wrong with it."""
    try:
        return read(sources)
    except ConfigError as error:
        fail(str(error))


def places_of(sources: Sources) -> Places:
    """Where the app's files lie. A configuration that has since become wrong must not keep `svcd down` from working."""
    return places(_name_of(sources)[0], os.environ, os.getuid())


def _name_of(sources: Sources) -> tuple[str, bool]:
    """Return the app's name, and whether somebody gave it that: else it is that of its folder."""
    folder = Path(sources.files[0]).absolute().parent
    try:
        documents = read(sources)
    except ConfigError as error:
        if not Path(sources.files[0]).exists():
            fail(str(error))
        return safe_name(folder.name), False
    return documents.app_name, documents.is_named


def own_places_of(sources: Sources) -> Places:
    """The same for who asks or orders what runs there: end the command where that is another app.

    Folders of one name are common. Who gives the name, or SVCD_RUNTIME_DIR, says which app is meant.
    """
    name, is_named = _name_of(sources)
    where = places(name, os.environ, os.getuid())
    if not is_named and "SVCD_RUNTIME_DIR" not in os.environ and Path(where.lock).exists():
        from svcd.host.sockets import daemon_pid, folder_elsewhere, namesake  # noqa: PLC0415 - only where one runs

        elsewhere = folder_elsewhere(where, Path(sources.files[0]).absolute().parent)
        if elsewhere and (pid := daemon_pid(where)):
            fail(f"this app is not running; {namesake(elsewhere, f'pid {pid}')}", EXIT_NOT_RUNNING)
    return where


def with_shared(services: Iterable[str], sources: Sources) -> tuple[str, ...]:
    """Return the names given and the names of the processes that those services share: logs and events have these."""
    try:
        groups = read(sources).groups
    except ConfigError:  # it may be wrong by now; what was written is there all the same
        groups = ()
    homes = {name.lower(): first for first, *others in groups for name in others}
    names: dict[str, None] = {}
    for given in services:
        name, slash, index = given.partition("/")
        names |= dict.fromkeys((given, f"{homes.get(name.lower(), name)}{slash}{index}"))
    return tuple(names)


def daemon_of(sources: Sources) -> BlockingClient:
    """Connect to the app's daemon, or end the command with exit code 3."""
    where = own_places_of(sources)
    client = connect(where)
    if client is None:
        _not_running(where)
    return client


def _not_running(where: Places) -> NoReturn:
    from svcd.host.sockets import daemon_pid, is_answering  # noqa: PLC0415 - only for the message

    if pid := daemon_pid(where):
        fail(f"the app is on its way up or down (pid {pid}) and answers nothing now; try again", EXIT_NOT_RUNNING)
    if is_answering(where.keeper):
        fail(_without_a_daemon(where), EXIT_NOT_RUNNING)
    last = _last_word(where)
    fail(f"the app is not running (nobody answers at {where.control}{last}); `svcd up` starts it", EXIT_NOT_RUNNING)


def _without_a_daemon(where: Places) -> str:
    from svcd.host.takeover import grace_left  # noqa: PLC0415 - only for the message

    left = grace_left(where.keeper)
    until = "for a while" if left is None else f"for {left:.0f} s more"
    return f"the daemon is gone; the services go on {until}, or until `svcd up` takes them over"


def _last_word(where: Places) -> str:
    """How the app ended, as far as its events tell."""
    from svcd.host.logs import tail  # noqa: PLC0415 - only for the message

    try:
        last = json.loads(tail(where.events, 1)[0].text)
        if last["kind"] == "daemon" and last["to"] in {"stopped", "left"}:
            return f"; it was {last['to']} at {last['time']}: {last['reason']}"
    except (IndexError, KeyError, ValueError):
        return ""
    return f"; it ended without a word some time after {last['time']}"


def connect(where: Places) -> BlockingClient | None:
    """Connect to the daemon there; None when there is none, or one that is just ending."""
    from svcd.link.blocking import BlockingClient  # noqa: PLC0415 - commands that need no daemon need no msgpack
    from svcd_ipc.errors import DeadlineExceeded, ProtocolError, ReplicaLost  # noqa: PLC0415 - as above

    try:
        return BlockingClient(where.control, {"role": "cli"})
    except (FileNotFoundError, ConnectionRefusedError, ReplicaLost):
        return None
    except PermissionError:
        fail(f"{where.control} belongs to another user; ask as the one who ran `svcd up`")
    except OSError as error:  # such as a path that no socket can have: then no daemon can be there either
        fail(f"{where.control}: {error}; SVCD_RUNTIME_DIR names another directory", EXIT_NOT_RUNNING)
    except DeadlineExceeded:
        fail(f"the daemon accepts at {where.control} but says nothing; is it stopped or stuck?", EXIT_TIMED_OUT)
    except ProtocolError as error:
        fail(f"what answers at {where.control} does not speak as this svcd does ({error}); are they of one version?")


@contextmanager
def watched(where: Places, pid: int) -> Iterator[int | None]:
    """Give a descriptor of the daemon with that pid, by which its end is seen; None when it holds the app no more."""
    from svcd.host.sockets import daemon_pid  # noqa: PLC0415 - as above

    daemon = None
    with suppress(ProcessLookupError):
        daemon = os.pidfd_open(pid)
    try:
        # It holds the lock still, so the descriptor is of no later process with that pid.
        yield daemon if daemon_pid(where) == pid else None
    finally:
        if daemon is not None:
            os.close(daemon)


def wait_ended(daemon: int | None, deadline: float = inf) -> bool:
    """Return True once the daemon that is `watched` has ended, False when the deadline (of time.monotonic) has passed.

    The next daemon may have begun by then: whether the app is held is no sign of the end of this one.
    """
    left = None if deadline == inf else max(0.0, deadline - time.monotonic())
    return daemon is None or bool(select.select([daemon], [], [], left)[0])


@contextmanager
def call_errors() -> Iterator[None]:
    """End the command with the message of a typed error."""
    from svcd_ipc.errors import CallError, DeadlineExceeded, RemoteError  # noqa: PLC0415 - see connect

    try:
        yield
    except DeadlineExceeded as error:
        fail(str(error), EXIT_TIMED_OUT)
    except RemoteError as error:
        fail(f"{error}\n{error.remote_traceback}".rstrip())
    except CallError as error:
        fail(f"{type(error).__name__}: {error}")


def fail(message: str, code: int = EXIT_FAILURE) -> NoReturn:
    """Say what is wrong and end the command."""
    click.echo(f"svcd: {message}", err=True)
    sys.exit(code)
