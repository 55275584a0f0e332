"""`draftmark models`: list the models in the cache, and remove one."""

from typing import Annotated

import typer

from draftmark.cli.terminal import echo
from draftmark.text import counted, format_bytes, printable_text


def _cached_names(incomplete: str) -> list[str]:
    """Return the names of cached models that begin as typed, for the shell's completion."""
    from draftmark.models.cache import cached_models

    names = [name for item in cached_models() for name in (item.name, *item.other_names)]
    return [name for name in names if name.startswith(incomplete)]


def models(context: typer.Context) -> None:
    """List the models in the cache, and remove one."""
    if context.invoked_subcommand is None:
        ls()


def ls() -> None:
    """List the models in the cache: size, commit, name, and where each came from."""
    from draftmark.models.cache import cache_directory, cached_models

    known = cached_models()
    echo(f"{'size':>8}  {'commit':12}  name, source, other names")
    for item in known:
        also = f"; also {', '.join(item.other_names)}" if item.other_names else ""
        source = item.source or "a download that is not whole; draftmark fetch goes on with it"
        shown = "hub" if source == f"hub {item.name}" else source
        line = printable_text(f"{item.name}: {shown}{also}")
        echo(f"{format_bytes(item.num_bytes):>8}  {(item.commit or '-')[:12]:12}  {line}")
    total = format_bytes(sum(item.num_bytes for item in known))
    echo(f"{counted(len(known), 'model')}, {total} in {cache_directory()}.")


def rm(
    name: Annotated[
        str,
        typer.Argument(help="A name of draftmark models.", autocompletion=_cached_names),
    ],
) -> None:
    """Delete a model, or a download that is not whole, from the cache, with all of its names."""
    from draftmark.models.cache import remove_model

    removed = remove_model(name)
    echo(f"Deleted: {removed.name}.")
