"""What commands are told and what they say: options that several share, how files are shown."""

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError

Recipe = Annotated[str, typer.Argument(help="A recipe's name (draftmark list) or a TOML file.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for results.")]
StoreAt = Annotated[
    Path | None, typer.Option("--store", help="Folder for cached stages [default: OUT/store].")
]
Tasks = Annotated[
    str | None, typer.Option("--tasks", help="Tasks instead of the recipe's, like gsm8k,mbpp.")
]
Unsafe = Annotated[
    bool,
    typer.Option("--unsafe-code", help="Run programs that models write without isolation."),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="A data directory: <task>/<split>.jsonl.gz.")
]
GpuName = Annotated[str, typer.Option("--gpu", help="Whose hours: h100, h200, a100 or l40s.")]
Utilisation = Annotated[
    float, typer.Option(min=0.01, max=1, help="The share of its FLOP/s that is reached.")
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", help="Run stages on Ray: 'local', or a cluster's address."),
]
Ran = Annotated[Path, typer.Argument(help="A folder that `draftmark run` wrote.")]


def listed(text: str | None) -> list[str] | None:
    """Return the names in a list parted by commas."""
    return [name.strip() for name in text.split(",")] if text is not None else None


def folder(path: Path | None) -> Path | None:
    """Return a data directory; raises UserError if it is not there."""
    if path is not None and not path.is_dir():
        raise UserError(
            f"There is no folder {str(path)!r}; name one that holds <task>/<split> files."
        )
    return path


def writable(path: Path) -> Path:
    """Return a folder, made if missing; raises UserError if nothing can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot write to {path}: {error.strerror}; name another folder."
        ) from error
    if not os.access(path, os.W_OK):
        raise UserError(f"Cannot write to {path}; name another folder.")
    return path


def show(files: list[Path]) -> None:
    """Print what can be read here, then where all files are."""
    for file in files:
        if file.suffix == ".md":
            typer.echo(file.read_text(encoding="utf-8"))
    for file in files:
        typer.echo(f"Written: {file}")
