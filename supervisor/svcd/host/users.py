"""The users that services run as: who is meant by a name, and what a process of theirs is told of them."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass


class UnknownUserError(LookupError):
    """There is no such user or group on this machine."""


class NotPermittedError(PermissionError):
    """This process may not become that user; the message says what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom a process becomes."""

    name: str
    """"" for a number that the machine has no name for."""
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def ids_to_become(self) -> list[int]:
        """Return user id, group id, supplementary groups, as `Spawn.user`; [] for who this process is already.

        Raises NotPermittedError.
        """
        if (self.uid, self.gid) == (os.geteuid(), os.getegid()):
            return []
        if os.geteuid() != 0:
            raise NotPermittedError(
                f"only root can start processes as {self.name or self.uid} (group {self.gid}), and svcd runs as user"
                f" {os.geteuid()}; run svcd as root, or take it away"
            )
        return [self.uid, self.gid, *self.groups]

    @property
    def variables(self) -> dict[str, str | None]:
        """Variables that tell a process who it is; those that lead into the daemon's home are taken away."""
        named = {"USER": self.name, "LOGNAME": self.name} if self.name else {}
        return {**named, "HOME": self.home, "XDG_CACHE_HOME": None, "HF_HOME": None}


def find_user(user: str, group: str) -> User:
    """Look up a user and a group by name or number; "" is this process's own user, and the user's own groups.

    Raises UnknownUserError.
    """
    user = user or str(os.geteuid())
    entry = _passwd(user)
    uid = entry.pw_uid if entry else int(user)
    if group:
        gid = _group(group)
        groups: tuple[int, ...] = (gid,)
    elif entry:
        gid, groups = entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    else:
        gid = uid
        groups = (gid,)
    return User(entry.pw_name if entry else "", uid, gid, groups, entry.pw_dir if entry else "/")


def _passwd(user: str) -> pwd.struct_passwd | None:
    """The entry of a user; None for a number without one, which is fine: containers have such."""
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        if user.isdecimal():
            return None
        raise UnknownUserError(f"no user {user} on this machine; `getent passwd` lists those there are") from None


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UnknownUserError(f"no group {group} on this machine; `getent group` lists those there are") from None
