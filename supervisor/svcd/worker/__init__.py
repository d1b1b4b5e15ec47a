"""Inside a replica: load, admit, serve, report; and the two faces that stand on it, the client and `svcd.local`."""

from svcd.worker.kind import search_path

__path__ = search_path()
