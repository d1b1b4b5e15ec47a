"""What both clients share of httpx: its settings, and what its exceptions mean for a call."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from svcd_ipc.errors import DeadlineExceeded, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.client.address import Address

KEEP_ALIVE = 60.0
"""Seconds that an idle connection is kept; the ingress keeps it longer, and so never ends one that is being taken."""
CONNECTIONS = 100


def settings(address: Address, headers: dict[str, str] | None) -> dict[str, Any]:
    """Return the keyword arguments of httpx's clients."""
    return {"base_url": address.url, "headers": headers, "trust_env": not address.is_local, "follow_redirects": False}


def limits() -> httpx.Limits:
    """Return the size of the pool."""
    return httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE)


@contextmanager
def call_errors(api: str, address: Address, timeout: float) -> Iterator[None]:
    """Turn httpx's exceptions into those of a call: whether it was delivered is what they are told apart by."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServiceUnavailable(f"{api}: cannot connect to {address}: {error}") from error
    except httpx.PoolTimeout as error:
        raise DeadlineExceeded(
            f"{api}: all {CONNECTIONS} connections of this client were busy for {timeout:g} s"
        ) from error
    except httpx.TimeoutException as error:
        raise DeadlineExceeded(f"{api}: no answer within {timeout:g} s; the call is cancelled") from error
    except httpx.TransportError as error:
        raise ReplicaLost(f"{api}: the connection ended while the call may have been running: {error}") from error
