"""Reads all that is known before user code is looked at: TOML files, `SVCD__` variables, flags, what was scaled."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.config.files import read_file
from svcd.config.layers import Layer, Reader, merge, spelled
from svcd.config.overrides import environment_layer, scale_layer, set_layer
from svcd.config.paths import absolute
from svcd.config.problems import ConfigError, Problem, nearest
from svcd.config.pythons import interpreter, interpreter_problem, python_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from svcd.config.origins import TomlFile

DEFAULT_FILE = Path("svcd.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a configuration comes from."""

    files: Sequence[Path] = (DEFAULT_FILE,)
    """The app's TOML file, then those laid over it (`-f`)."""
    profile: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """`SVCD__...` and `{ from_host = true }` are read from it."""
    sets: Sequence[str] = ()
    """`--set KEY=VALUE`, as given."""
    scaled: Mapping[str, int] = field(default_factory=dict)
    """Replicas by service, as `svcd scale` set them in the running app."""


@dataclass(slots=True, eq=False)
class Documents:
    """All layers above the decorators, valid each by itself."""

    sources: Sources
    root: Path
    """The absolute folder of the first file; modules are looked up from here."""
    layers: tuple[Layer, ...]
    """The layers in force, lowest first."""
    dormant: tuple[Layer, ...]
    """The profiles that were not chosen."""
    files: tuple[TomlFile, ...]

    @property
    def entry(self) -> str:
        """The entry service as `module:Class`."""
        return str(merge(self.layers)["app", "service"][-1].value)

    @property
    def entry_place(self) -> str:
        """Where the entry service is named: `svcd.toml:2`."""
        return merge(self.layers)["app", "service"][-1].where

    @property
    def app_name(self) -> str:
        """The app's name: as configured, else made from the folder's."""
        named = merge(self.layers).get(("app", "name"))
        return str(named[-1].value) if named else safe_name(self.root.name)

    @property
    def is_named(self) -> bool:
        """Whether the app's name is configured."""
        return ("app", "name") in merge(self.layers)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The services that share a process, by name."""
        said = merge(self.layers).get(("app", "colocate"))
        return said[-1].value if said else ()

    @property
    def task_store(self) -> str:
        """Absolute path of the file of tasks that the configuration names, "" where it names none."""
        said = merge(self.layers).get(("app", "tasks", "store"))
        return absolute(said[-1]) if said else ""

    @property
    def orphan_grace(self) -> float:
        """Seconds for which the app goes on without its daemon."""
        said = merge(self.layers).get(("app", "orphan_grace"))
        return float(said[-1].value) if said else 0.0

    @property
    def app_python(self) -> str | None:
        """Absolute path of the interpreter that the configuration names for the whole app, or None."""
        named = merge(self.layers).get(("app", "python"))
        return interpreter(named[-1], self.sources.environ) if named else None

    def python_for(self, service: str) -> str | None:
        """Return the absolute path of the interpreter that the configuration names for a service, or None."""
        entry = python_entry(merge(spelled(self.layers, [service])), service)
        return interpreter(entry, self.sources.environ) if entry else None

    def python_place(self, service: str) -> str:
        """Name the place that names a service's interpreter: `svcd.toml:9`; "" where none does."""
        entry = python_entry(merge(spelled(self.layers, [service])), service)
        return entry.where if entry else ""

    def user_for(self, service: str) -> tuple[str, str]:
        """Return user and group that the configuration names for a service, "" for none."""
        stack = merge(spelled(self.layers, [service]))
        found = [stack.get(("services", service, key)) for key in ("user", "group")]
        user, group = (str(entries[-1].value) if entries else "" for entries in found)
        return user, group


def safe_name(folder: str) -> str:
    """Make an app's name of a folder's: at most 32 letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-._")[:32] or "app"


def read(sources: Sources) -> Documents:
    """Read and check everything above the decorators. Raises ConfigError with all problems."""
    problems: list[Problem] = []
    reader = Reader(problems)
    read_files = [read_file(Path(path), problems) for path in sources.files]
    if not sources.files:
        problems.append(Problem(message="no file was named; `-f FILE` names the app's TOML file"))
    root = Path(sources.files[0]).absolute().parent if sources.files else Path.cwd()
    layers: list[Layer] = []
    dormant: list[Layer] = []
    files = [found for found in read_files if found is not None]
    for source, tree in files:
        whole = reader.read("file", tree, source)
        layers.append(whole.base_part())
        for name in sorted({path[1] for path in (*whole.names, *whole.entries) if path[0] == "profiles"}):
            (layers if name == sources.profile else dormant).append(whole.profile_part(name))
    layers.append(environment_layer(sources.environ, root, reader))
    layers.append(set_layer(tuple(sources.sets), root, reader))
    layers.append(scale_layer(sources.scaled, root, reader))
    documents = Documents(sources, root, tuple(layers), tuple(dormant), tuple(source for source, _ in files))
    if files and len(files) == len(
        sources.files
    ):  # else what seems to be missing may stand in the file that could not be read
        problems += _missing(documents, problems)
        problems += _pythons(documents)
    if problems:
        raise ConfigError(problems)
    return documents


def _missing(documents: Documents, problems: list[Problem]) -> Iterator[Problem]:
    """What has to be there and is not, and was not meant by a key that is a problem already."""
    first = documents.files[0]
    is_misspelt = any(
        (problem.key or "").startswith("app") or problem.suggestion == "app.service" for problem in problems
    )
    if ("app", "service") not in merge(documents.layers) and not is_misspelt:
        message = 'missing; name the entry service: service = "module:Class" under [app]'
        yield Problem(file=first.shown, key="app.service", message=message)
    wanted = documents.sources.profile
    profiles = {layer.profile for layer in (*documents.layers, *documents.dormant)} - {""}
    if wanted is not None and wanted not in profiles:
        known = f"; known here: {', '.join(sorted(profiles))}" if profiles else "; there is none in the file"
        suggestion = nearest(wanted, profiles)
        message = "no such profile" + ("" if suggestion else known)
        yield Problem(file=f"--profile {wanted}", message=message, suggestion=suggestion)


def _pythons(documents: Documents) -> Iterator[Problem]:
    """The interpreters in force that can't be started."""
    files = [layer for layer in documents.layers if layer.name != "environment"]
    names = [path[1] for path in merge(files) if path[0] == "services"]
    stack = merge(spelled(documents.layers, names))
    paths = [path for path in stack if path[-1] == "python" and path[0] in {"app", "services"} and len(path) <= 3]
    checked = (interpreter_problem(stack[path][-1], documents.sources.environ) for path in paths)
    yield from (problem for problem in checked if problem)
