"""Which files the code of a service is: its module, and what that imports from the app's folder, at whatever depth.

The sources are read and not run, so that an import inside a function counts before it is made. What is installed
elsewhere is not looked at: a change of it comes with a change of the environment. What is imported only to be named in
`depends(...)` is the code of another service.
"""

from __future__ import annotations

import ast
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def fingerprint(file: Path, root: Path) -> str:
    """Return a short hash of all of it, "" where the module itself cannot be read. root: the app's folder."""
    digest = sha256()
    try:
        for source in source_files(file, root):
            digest.update(source.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()[:12]


def source_files(file: Path, root: Path) -> list[Path]:
    """Return the module's own file, then those below `root` that it imports, directly or not, in a stable order."""
    found = {file}
    waiting = [file]
    while waiting:
        for source in _imported(waiting.pop(), root):
            if source not in found:
                found.add(source)
                waiting.append(source)
    return [file, *sorted(found - {file})]


def _imported(file: Path, root: Path) -> Iterator[Path]:
    tree = ast.Module([], [])
    with suppress(OSError, SyntaxError, ValueError):  # it is imported later, or never
        tree = ast.parse(file.read_bytes())
    callees = _named_as_callees(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if (name.asname or name.name.partition(".")[0]) not in callees:
                    yield from _files(root, name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else root
            module = node.module.split(".") if node.module else []
            for name in node.names:  # a name may be a module in a package, or something in a module
                if (name.asname or name.name) not in callees:
                    yield from _files(base, [*module, name.name])


def _named_as_callees(tree: ast.AST) -> set[str]:
    """Return the names that are used in `depends(...)` and nowhere else."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_depends(node.func))
    inside = {part for call in calls for given in (*call.args, *call.keywords) for part in ast.walk(given)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    return {name.id for name in names if name in inside} - {name.id for name in names if name not in inside}


def _is_depends(called: ast.expr) -> bool:
    return "depends" in {getattr(called, "id", ""), getattr(called, "attr", "")}


def _files(base: Path, names: list[str]) -> Iterator[Path]:
    """Yield the files that importing a dotted name below a folder runs; none where it lies elsewhere."""
    place = base
    for name in names:
        for file in (place / f"{name}.py", place / name / "__init__.py"):
            if file.is_file():
                yield file
        place /= name
