"""`draftmark store`: list, verify and garbage-collect the store."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.terminal import echo
from draftmark.text import counted, format_bytes

Folder = Annotated[Path, typer.Option("--store", help="The store's folder.")]
DEFAULT_STORE = Path("results/store")


def ls(store: Folder = DEFAULT_STORE) -> None:
    """List the results: size, age, time since last use, label and runs.

    A star marks a result that a stored or running run needs; `gc` never deletes it.
    """
    from draftmark.store import garbage_collection
    from draftmark.store.store import Store
    from draftmark.text import printable_text

    now, results = time.time(), garbage_collection.stored_results(Store(store), _note)
    echo(f"  {'stage':12} {'key':12} {'size':>9} {'made':>8} {'used':>8}  label, runs")
    for item in results:
        mark = "*" if item.needed else " "
        ages = f"{_age(now - item.made):>8} {_age(now - item.used):>8}"
        label = printable_text(f"{item.label}: {', '.join(item.runs) or 'no known run'}")
        echo(f"{mark} {item.name} {format_bytes(item.num_bytes):>9} {ages}  {label}")
    total = format_bytes(sum(item.num_bytes for item in results))
    needed = format_bytes(sum(item.num_bytes for item in results if item.needed))
    everything = format_bytes(garbage_collection.folder_size(store))
    echo(
        f"{counted(len(results), 'result')}, {total}, of which {needed} are needed; {everything} "
        f"in {store} in total."
    )


def verify(store: Folder = DEFAULT_STORE) -> None:
    """Hash every stored file again, and set damaged results aside; the next run makes them again.

    Exit code 1 if a result is damaged.
    """
    from draftmark.store import garbage_collection
    from draftmark.store.store import Store

    checked = list(garbage_collection.verify_store(Store(store), _note))
    damages = [damage for _, damage in checked if damage]
    for damage in damages:
        echo(f"Damaged: {damage}; the next run makes it again.")
    total = format_bytes(sum(item.num_bytes for item, _ in checked))
    echo(f"{counted(len(checked), 'result')}, {total}, read and hashed: {len(damages)} damaged.")
    if damages:
        raise typer.Exit(1)


def gc(
    store: Folder = DEFAULT_STORE,
    keep_under: Annotated[
        str | None, typer.Option(help="The store's largest size, like 20GB.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be deleted, and delete nothing.")
    ] = False,
) -> None:
    """Delete damaged results, folders of killed runs, and checkpoints of finished stages.

    With --keep-under also results that no stored or running run needs, least recently used first.
    Exit code 1 if the needed results are larger than that.
    """
    from draftmark.store import garbage_collection
    from draftmark.store.store import Store

    limit = garbage_collection.parse_size(keep_under) if keep_under is not None else None
    done = garbage_collection.collect_garbage(Store(store), limit, dry=dry_run, note=_note)
    verb = "Would delete" if dry_run else "Deleted"
    for item in done.gone:
        echo(f"{verb}: {item.name} {format_bytes(item.num_bytes):>9}")
    if done.left:
        echo(f"{verb}: {len(done.left)} journals and locks that no run needs")
    echo(f"{format_bytes(done.freed)} freed; {format_bytes(done.num_bytes)} stay in {store}.")
    if limit is not None and done.num_bytes > limit:
        echo(
            f"draftmark: that is above {keep_under}: stored and running runs need these results "
            "(draftmark store ls); delete a run's folder to release them.",
            err=True,
        )
        raise typer.Exit(1)


def _note(sentence: str) -> None:
    echo(f"draftmark: {sentence}", err=True)


def _age(seconds: float) -> str:
    age = timedelta(seconds=int(max(0.0, seconds)))
    hours, minutes = divmod(age.seconds // 60, 60)
    return f"{age.days} d" if age.days else f"{hours} h" if hours else f"{minutes} min"
