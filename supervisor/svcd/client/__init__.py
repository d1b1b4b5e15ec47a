"""Calls of a running app from outside: HTTP over TCP or a Unix socket, with arrays, streams and errors as they are.

`Client` blocks, `AsyncClient` runs on trio and asyncio; both speak msgpack, so that arrays and bytes stay binary.
"""

from __future__ import annotations

try:
    from svcd.client.asynchronous import AsyncClient
    from svcd.client.blocking import Client
except ModuleNotFoundError as error:  # a service's own interpreter may lack them
    raise ImportError(f"svcd.Client and svcd.AsyncClient: {error}; run: python -m pip install h11 anyio") from error

__all__ = ["AsyncClient", "Client"]
