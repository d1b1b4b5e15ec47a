"""Calls of a running app from outside: HTTP over TCP or a Unix socket, with arrays, streams and errors as they are.

`Client` blocks, `AsyncClient` runs on trio and asyncio; both speak msgpack, so that arrays and bytes stay binary.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("httpx") is None:  # a service's own interpreter may lack it
    raise ImportError("svcd.Client and svcd.AsyncClient need httpx; run: python -m pip install httpx")

from svcd.client.asynchronous import AsyncClient
from svcd.client.blocking import Client

__all__ = ["AsyncClient", "Client"]
