"""Look after the store: ls, verify, gc; take what a run needs elsewhere: pack, unpack."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import StoreAt
from draftmark.pipeline.publish import writable

Kept = Annotated[Path, typer.Option("--store", help="The store's folder.")]
DEFAULT = Path("results/store")


def ls(store: Kept = DEFAULT) -> None:
    """List what is stored: size, age, last use, what it is and which runs it was made for.

    A star marks what a stored run or one under way needs, which `gc` never takes. Of what is light
    large files were left out (`pack`).
    """
    from draftmark.store import garbage_collection
    from draftmark.store.entries import LIGHT
    from draftmark.store.store import Store
    from draftmark.text import plain

    now, found = time.time(), garbage_collection.results(Store(store))
    typer.echo(
        f"  {'stage':12} {'key':12} {'size':>9} {'made':>8} {'used':>8}  what, for which runs"
    )
    for item in found:
        mark = "*" if item.needed else " "
        ages = f"{_age(now - item.made):>8} {_age(now - item.used):>8}"
        light = " (light)" if (item.directory / LIGHT).exists() else ""
        what = f"{garbage_collection.label(item)}{light}: {', '.join(item.runs) or 'no known run'}"
        typer.echo(f"{mark} {item.name} {size(item.num_bytes):>9} {ages}  {plain(what)}")
    needed = sum(item.num_bytes for item in found if item.needed)
    typer.echo(
        f"{len(found)} results, {size(sum(item.num_bytes for item in found))}, of which "
        f"{size(needed)} are needed; {size(garbage_collection.size_of(store))} with all else in "
        f"{store}."
    )


def verify(store: Kept = DEFAULT) -> None:
    """Hash everything that is stored again; what is damaged is named and set aside.

    The next run makes it again. Exit code 1 if anything is damaged.
    """
    from draftmark.store import garbage_collection
    from draftmark.store.store import Store

    checked = list(garbage_collection.verify(Store(store)))
    damages = [wrong for _, wrong in checked if wrong]
    for wrong in damages:
        typer.echo(f"Damaged: {wrong}; the next run makes it again.")
    total = size(sum(item.num_bytes for item, _ in checked))
    typer.echo(f"{len(checked)} results, {total}, read and hashed: {len(damages)} damaged.")
    if damages:
        raise typer.Exit(1)


def gc(
    store: Kept = DEFAULT,
    keep_under: Annotated[
        str | None, typer.Option(help="How large the store may be, like 20GB.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and take nothing.")
    ] = False,
) -> None:
    """Take away what was left behind: by killed runs, damaged, of no use any more.

    With a limit also results that no stored run and none under way needs, those used longest ago
    first. Exit code 1 if what is needed is above the limit.
    """
    from draftmark.store import garbage_collection
    from draftmark.store.store import Store

    limit = garbage_collection.parse_size(keep_under) if keep_under is not None else None
    done = garbage_collection.collect(Store(store), limit, dry=dry_run)
    for item in done.gone:
        typer.echo(f"{'Would go' if dry_run else 'Gone'}: {item.name} {size(item.num_bytes):>9}")
    typer.echo(f"{size(done.freed)} freed; {size(done.num_bytes)} stay in {store}.")
    if limit is not None and done.num_bytes > limit:
        typer.echo(
            f"draftmark: that is above {keep_under}: stored runs and those under way need it "
            "(draftmark store ls); delete the folder of a run to let go of what it needs.",
            err=True,
        )
        raise typer.Exit(1)


def pack(
    run: Annotated[Path, typer.Argument(help="A run's folder, also of one that is not finished.")],
    out: Annotated[Path, typer.Option("--out", help="The pack's folder, new or of a pack before.")],
    store: StoreAt = None,
) -> None:
    """Write what is finished of a run into a folder small enough to commit.

    Weights and hidden states are left out: where a stage is to be made of them, they are made
    again. All numbers and reports do without.
    """
    from draftmark.store import packing
    from draftmark.store.store import Store

    moved = packing.pack(Store(store or run.parent / "store"), run.name, writable(out))
    typer.echo(f"{moved.results} results, {moved.light} of them light, in {out}.")


def unpack(
    packed: Annotated[Path, typer.Argument(help="A folder that `draftmark store pack` wrote.")],
    store: Kept = DEFAULT,
) -> None:
    """Put the results of a pack into a store, verified; a run goes on from there.

    What the store has already stays as it is.
    """
    from draftmark.store import packing
    from draftmark.store.store import Store

    moved = packing.unpack(packed, Store(writable(store)))
    typer.echo(
        f"{moved.results} results put into {store}, {moved.light} of them light; "
        f"{moved.there} were there, or are being made."
    )


def size(num_bytes: int) -> str:
    """Return a number of bytes in words."""
    value, unit = float(num_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _age(seconds: float) -> str:
    told = timedelta(seconds=int(max(0.0, seconds)))
    if told.days:
        return f"{told.days} d"
    hours, minutes = divmod(told.seconds // 60, 60)
    return f"{hours} h" if hours else f"{minutes} min"
