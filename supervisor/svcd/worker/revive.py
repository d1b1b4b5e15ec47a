"""Errors of the app's own types arrive as themselves where the caller knows the type.

Law: nothing is imported on the word of a peer, and no constructor runs: only a class that this process has already
imported is used, and only one of the app, never one of the standard library or of svcd.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from svcd_ipc.errors import CallError, RemoteError

if TYPE_CHECKING:
    from svcd_ipc.errors import Origin

_NOT_THE_APPS = frozenset({*sys.stdlib_module_names, "svcd", "svcd_ipc"})


def raise_as_own(error: BaseException) -> None:
    """Raise the user's own exception in the place of a remote error, which becomes its cause; else do nothing."""
    own = revived(error)
    try:
        if own is not None:
            raise own from error
    finally:
        del own, error  # Their tracebacks refer to this frame, and keep those above while it refers to them.


def revived(error: BaseException) -> Exception | None:
    """Return the user's own exception that a remote error tells of, None where its class is not known here."""
    if not isinstance(error, RemoteError) or error.origin is None:
        return None
    kind = _known_class(error.origin)
    if kind is None:
        return None
    try:
        own = kind.__new__(kind, *error.origin.args)
        own.args = tuple(error.origin.args)
        own.__dict__.update(error.origin.state)
    except Exception:  # noqa: BLE001 - a class that cannot be made again stays a RemoteError
        return None
    return own


def _known_class(origin: Origin) -> type[Exception] | None:
    if origin.module.partition(".")[0] in _NOT_THE_APPS:
        return None
    found: object = sys.modules.get(origin.module)
    for name in origin.qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, CallError):
        return found
    return None
