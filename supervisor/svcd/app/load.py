"""From `module:Class` to the service class, with errors that name the place and show the user's frames only."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.app.declare import ServiceDeclaration, declaration_of
from svcd.app.nearest import nearest

if TYPE_CHECKING:
    from types import TracebackType

OURS = (str(Path(__file__).resolve().parents[1]) + "/", "<frozen importlib", "<string>")
"""File names of frames that say nothing to a user: svcd's and the import system's."""
BENEATH = {"importlib", "trio", "outcome"}
"""Packages whose frames say nothing where they lie between svcd's own and the user's."""


class LoadError(Exception):
    """A target cannot be loaded. `kind` is `import` when the user's module raised, else `graph`."""

    kind = "graph"
    traceback = ""
    """The user's own frames, ready to print."""


class ImportFailedError(LoadError):
    """Importing the module raised; the exception is the cause."""

    kind = "import"

    def __init__(self, module: str, error: BaseException, asked_by: str) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            super().__init__(
                f"there is no module {module!r}{asked_by} in {sys.path[0] or '.'}, nor installed for {sys.executable}"
            )
        else:
            super().__init__(f"importing {module!r}{asked_by} failed: {_one_line(error)}")
            self.traceback = user_traceback(error)
        self.is_missing = isinstance(error, ImportError)
        """A module (this one, or one it imports) is not installed here; another interpreter may have it."""


def split_target(target: str) -> tuple[str, str]:
    """Return module and class of `module:Class`."""
    module, _, name = target.partition(":")
    if not module or not name:
        raise LoadError(f"{target!r}: write it as 'module:Class'")
    return module, name


def load_class(target: str, *, asked_by: str = "") -> tuple[type, ServiceDeclaration]:
    """Import the module of `module:Class` and return the class with its declaration.

    Args:
        target: `module:Class`; `Class` may have dots.
        asked_by: Who names the target, as the middle of an error message, such as ` (Entry.features, service.py:12)`.

    Raises:
        ImportFailedError: The module raised while it was imported, or is not there.
        LoadError: There is no such class in it, or it is no service.
    """
    module_name, class_name = split_target(target)
    found = sys.modules.get(module_name)
    if found is None:
        try:
            __import__(module_name)  # unlike importlib.import_module it leaves no frame in the user's traceback
            found = sys.modules[module_name]
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise ImportFailedError(module_name, error, asked_by) from error
    value: object = found
    for part in class_name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            services = [name for name, member in vars(found).items() if declaration_of(member) is not None]
            file = getattr(found, "__file__", None) or module_name
            raise LoadError(f"{file}{asked_by}: there is no class {nearest(part, services)}") from None
    declaration = declaration_of(value)
    if declaration is None or not isinstance(value, type):
        raise LoadError(f"{target}{asked_by} is no service; put @svcd.service above the class")
    return value, declaration


def user_traceback(error: BaseException) -> str:
    """Return the traceback text of an exception without svcd's frames and the import system's."""
    _trim(error, set())
    return "".join(traceback.format_exception(error))


def _trim(error: BaseException, seen: set[int]) -> None:
    if id(error) in seen:
        return
    seen.add(id(error))
    error.__traceback__ = _trimmed(error.__traceback__)
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        if other is not None:
            _trim(other, seen)


def _trimmed(tb: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    while tb is not None:
        package = str(tb.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if not tb.tb_frame.f_code.co_filename.startswith(OURS) and (kept or package not in BENEATH):
            kept.append(tb)
        tb = tb.tb_next
    following: TracebackType | None = None
    for entry in reversed(kept):
        entry.tb_next = following
        following = entry
    return following


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
