"""What commands are told and what they say: options that several share, how files are shown."""

from pathlib import Path
from typing import Annotated

import typer

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


def show(files: list[Path]) -> None:
    """Print what can be read here, then where all files are."""
    for file in files:
        if file.suffix == ".md":
            typer.echo(file.read_text(encoding="utf-8"))
    for file in files:
        typer.echo(f"Written: {file}")
