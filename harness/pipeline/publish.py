"""From a recipe to a run's folder: plan, run, and save results and records."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from draftmark.errors import UserError

if TYPE_CHECKING:
    from draftmark.config.recipe import Recipe
    from draftmark.pipeline.experiment import Plan
    from draftmark.pipeline.journal import Journal
    from draftmark.pipeline.stopping import Stop
    from draftmark.progress import Progress
    from draftmark.results import Results
    from draftmark.store.graph import Node
    from draftmark.store.store import Store


@dataclass(frozen=True)
class RunOptions:
    """The options of a run: its folders, and how its stages run."""

    out: Path
    store: Path | None = None  # by default `out`/store
    data: Path | None = None
    unsafe_code: bool = False  # run programs that models write without isolation
    cluster: str | None = None  # the address of a Ray cluster, or "local"; None: this process


def run_recipe(recipe: "Recipe", name: str, options: RunOptions) -> "tuple[Results, Path]":
    """Run a recipe and save its results and records; return the results and their folder."""
    from draftmark.grading.sandbox import Sandbox
    from draftmark.pipeline import experiment
    from draftmark.pipeline.save_records import save_records
    from draftmark.progress import Progress
    from draftmark.store.run_folder import save_results
    from draftmark.store.run_locks import lock_run
    from draftmark.store.store import Store

    progress, sandbox = Progress(), Sandbox(unsafe=options.unsafe_code)
    prepared = experiment.plan_experiment(
        recipe, progress, data=data_folder(options.data), sandbox=sandbox
    )
    writable_folder(options.out)
    store = Store(writable_folder(options.store or options.out / "store"))
    directory = options.out / f"{name}-{prepared.key[:8]}"
    with lock_run(store, directory, prepared.nodes):
        results = _run(prepared, name, directory, store, progress, options.cluster)
        results = save_records(prepared, results, store, directory)
        save_results(results, directory)
    return results, directory


def _run(
    prepared: "Plan",
    name: str,
    directory: Path,
    store: "Store",
    progress: "Progress",
    cluster: str | None,
) -> "Results":
    """Run a plan, here or on a cluster, with a journal and a stop flag."""
    from draftmark.pipeline import executor, runner

    with track_run(store, directory.name, prepared.recipe.title, prepared.nodes) as (journal, stop):
        make = partial(executor.execute_stages, journal=journal, stop=stop)
        if cluster:
            from draftmark.pipeline.cluster import executor as on_ray
            from draftmark.pipeline.planning.needs import stage_needs

            needs = stage_needs(prepared)
            make = partial(
                on_ray.execute_on_cluster, address=cluster, needs=needs, journal=journal, stop=stop
            )
        return runner.run_experiment(prepared, name, store, progress, make)


@contextmanager
def track_run(
    store: "Store", run: str, title: str, nodes: "Iterable[Node]"
) -> "Iterator[tuple[Journal, Stop]]":
    """Yield the run's event journal and its stop flag.

    Raises Stopped if Ctrl-C stopped the run, at once or after the running stages.
    """
    from draftmark.pipeline.journal import Journal
    from draftmark.pipeline.stopping import Stop, Stopped

    journal = Journal.open(store, run)
    journal.record_run(title, nodes, store)
    stop = Stop(journal.folder)
    with journal.heartbeat():
        try:
            with stop.catch_interrupts():
                yield journal, stop
        except KeyboardInterrupt:
            raise Stopped from None


def data_folder(path: Path | None) -> Path | None:
    """Return a data directory; raises UserError if it does not exist."""
    if path is not None and not path.is_dir():
        raise UserError(f"There is no folder {str(path)!r}; name one with <task>/<split> files.")
    return path


def writable_folder(path: Path) -> Path:
    """Return a folder, created if missing; raises UserError if it is not writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot write to {path}: {error.strerror}; name another folder."
        ) from error
    if not os.access(path, os.W_OK):
        raise UserError(f"Cannot write to {path}; name another folder.")
    return path
