"""A recipe run and published: its stages, its results, their records, in a folder of their own."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from draftmark.errors import UserError
from draftmark.results import Results

if TYPE_CHECKING:
    from draftmark.config.recipe import Recipe
    from draftmark.pipeline.experiment import Plan
    from draftmark.pipeline.journal import Journal
    from draftmark.pipeline.stopping import Stop
    from draftmark.progress import Progress
    from draftmark.store.graph import Node
    from draftmark.store.store import Store


@dataclass(frozen=True)
class Places:
    """Where a run writes, and where it finds its rows."""

    out: Path
    store: Path | None = None  # by default in `out`
    data: Path | None = None
    unsafe_code: bool = False
    cluster: str | None = None  # where stages run: here, on a Ray cluster of an address, or "local"


def publish(recipe: "Recipe", name: str, places: Places) -> tuple[Results, Path]:
    """Run a recipe; return its results and the folder that they were written to."""
    from draftmark.grading.sandbox import Sandbox
    from draftmark.pipeline import experiment, runner
    from draftmark.progress import Progress
    from draftmark.store.run_folder import save_results
    from draftmark.store.run_locks import lock_run
    from draftmark.store.store import Store

    progress = Progress()
    sandbox = Sandbox(unsafe=places.unsafe_code)
    prepared = experiment.plan(recipe, progress, data=folder(places.data), sandbox=sandbox)
    writable(places.out)
    store = Store(writable(places.store or places.out / "store"))
    directory = places.out / f"{name}-{prepared.key[:8]}"
    with lock_run(store, directory, prepared.nodes):
        results = _run(prepared, name, directory, store, progress, places.cluster)
        results = runner.save_records(prepared, results, store, directory)
        save_results(results, directory)
    return results, directory


def _run(
    prepared: "Plan",
    name: str,
    directory: Path,
    store: "Store",
    progress: "Progress",
    cluster: str | None,
) -> Results:
    """Run a plan here or on a cluster, so that it can be followed and stopped."""
    from draftmark.pipeline import executor, runner

    with tracked(store, directory.name, prepared.recipe.title, prepared.nodes) as (journal, stop):
        make = partial(executor.execute, journal=journal, stop=stop)
        if cluster:
            from draftmark.pipeline.cluster import executor as fleet
            from draftmark.pipeline.cluster import needs

            needed = needs.of(prepared)
            make = partial(fleet.execute, address=cluster, needs=needed, journal=journal, stop=stop)
        return runner.run(prepared, name, store, progress, make)


@contextmanager
def tracked(
    store: "Store", run: str, title: str, nodes: "Iterable[Node]"
) -> "Iterator[tuple[Journal, Stop]]":
    """Yield the run's event journal and its stop flag.

    Raises Stopped if Ctrl-C stopped the run, at once or after the running stages ended.
    """
    from draftmark.pipeline.journal import Journal
    from draftmark.pipeline.stopping import Stop, Stopped

    journal = Journal.open(store, run)
    journal.tell_run(title, nodes, store)
    stop = Stop(journal.folder)
    with journal.alive():
        try:
            with stop.listening():
                yield journal, stop
        except KeyboardInterrupt:
            raise Stopped from None


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
