"""What a keeper does when the end of its guard and of its daemon are seen in one turn of its loop."""

from __future__ import annotations

import os
import selectors
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from svcd.keeper import Keeper
from svcd.values.orders import Linger

if TYPE_CHECKING:
    from pathlib import Path


def test_a_grace_does_not_begin_when_the_guard_has_ended(tmp_path: Path) -> None:
    link, daemon = socket.socketpair()
    guard: Any = SimpleNamespace(pidfd=os.pidfd_open(os.getpid()), allow=lambda _seconds: None)
    keeper = Keeper(link, guard, cast("Any", None))
    with link, daemon, keeper._selector:
        keeper._listen_to_link()
        keeper._selector.register(guard.pidfd, selectors.EVENT_READ)
        keeper._obey(Linger(100.0, str(tmp_path / "s"), "0"))
        keeper._finish(1)
        daemon.close()
        keeper._receive()
        assert keeper._exit_code == 1
        assert not keeper._is_alone
    os.close(guard.pidfd)
