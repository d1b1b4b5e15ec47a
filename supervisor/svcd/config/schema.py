"""Every key that a configuration can have: the one source of validation, defaults and the reference.

A key is here when its effect is built, and not before. `*` in a path stands for a name that the user chooses. Tables
under `[profiles.P]` take the keys of `[app]` and `[services.X]`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from svcd.config.app_keys import APP_KEYS
from svcd.config.keys import Key, KeyPath, Table
from svcd.config.service_keys import INSTANCE_TYPE_KEYS, SERVICE_KEYS

__all__ = ("APP", "INSTANCE_TYPE", "KEYS", "ROOT", "SERVICE", "Key", "KeyPath", "Table", "default", "find", "key_at")


def _under(prefix: str, keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(replace(key, path=f"{prefix}.{key.path}") for key in keys)


KEYS: tuple[Key, ...] = (
    *APP_KEYS,
    *_under("services.*", SERVICE_KEYS),
    *_under("instance_types.*", INSTANCE_TYPE_KEYS),
)


def _tree(keys: tuple[Key, ...]) -> Table:
    root = Table()
    for key in keys:
        table = root
        *tables, last = key.path.split(".")
        for name in tables:
            table = table.grow(name)
        if last == "*":
            table.named = key
        else:
            table.children[last] = key
    profile = root.grow("profiles").grow("*")
    profile.children.update({name: root.children[name] for name in ("app", "services")})
    return root


ROOT = _tree(KEYS)
APP = ROOT.grow("app")
SERVICE = ROOT.grow("services").grow("*")
"""The keys of one service, which a decorator has too."""
INSTANCE_TYPE = ROOT.grow("instance_types").grow("*")


def find(path: KeyPath) -> Table | Key | None:
    """Return what a path leads to, None when it leads nowhere."""
    node: Table | Key | None = ROOT
    for name in path:
        node = node.child(name) if isinstance(node, Table) else None
    return node


def key_at(path: KeyPath) -> Key:
    """Return the key at a path that has been validated."""
    node = find(path)
    if not isinstance(node, Key):
        raise KeyError(path)
    return node


def default(path: str) -> Any:
    """Return the default of a key, by its path in KEYS; None where it has no constant one."""
    return _DEFAULTS[path]


_DEFAULTS = {key.path: key.default for key in KEYS}
