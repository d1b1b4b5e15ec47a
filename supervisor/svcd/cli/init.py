"""`svcd init`: a small app to start from, which runs as it is."""

from __future__ import annotations

from pathlib import Path

import click

from svcd.cli.common import fail

TEMPLATES = Path(__file__).resolve().parent / "templates"
CALLS = {
    "pipeline": """curl --json '{"text": "I love it"}' 127.0.0.1:3000/run""",
    "ensemble": """curl --json '{"text": "good!"}' 127.0.0.1:3000/judge""",
    "dag": """curl --json '{"text": "to be or not"}' 127.0.0.1:3000/read""",
    "command": """curl --json '{"text": "I love it"}' 127.0.0.1:3000/judge""",
}
"""A template -> a call that it answers."""


@click.command("init")
@click.option(
    "--template", type=click.Choice([*CALLS]), default="pipeline", show_default=True, help="What to begin as."
)
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(path_type=Path))
def command(template: str, folder: Path) -> None:
    """Write svcd.toml, service.py and test_service.py into DIR, by default this folder.

    The template `command` has a program too, model.py, which svcd supervises like the others; replace it by your own.
    Files that are there already are never overwritten: nothing is written then.
    """
    texts = {path.name: path.read_text("utf-8") for path in sorted((TEMPLATES / template).iterdir()) if path.is_file()}
    try:
        _write(folder, texts)
    except FileExistsError as error:
        fail(f"{error.filename} is there already, and init overwrites nothing; name another folder: svcd init DIR")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    enter = "" if folder.resolve() == Path.cwd() else f"cd {folder}\n    "
    click.echo(f"made {', '.join(texts)} in {folder}; next:\n")
    click.echo(f"    {enter}svcd up\n    {CALLS[template]}\n    python -m pytest")


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write all files or, when one is there already, none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in texts:
        if (folder / name).is_symlink() or (folder / name).exists():
            raise FileExistsError(0, "", str(folder / name))
    for name, text in texts.items():
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(text)
