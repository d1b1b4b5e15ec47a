"""Calls between processes of one machine: msgpack frames over Unix sockets, under trio.

Import the module you need; this package imports nothing of them by itself, so that `svcd_ipc.frames` costs neither trio
nor msgpack.
"""

from svcd_ipc.core import search_path

__path__ = search_path()
