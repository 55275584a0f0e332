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
    from draftmark.pipeline.executor import Executor
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
    cluster: str | None = None  # the address of a Ray cluster, or "local"; None: this machine
    jobs: int | None = None  # processes of this machine; None: as many as it can use
    quiet: bool = False  # print no progress


def run_recipe(recipe: "Recipe", name: str, options: RunOptions) -> "tuple[Results, Path]":
    """Run a recipe and save its results and records; return the results and their folder.

    The folder has the recipe too, as `<name>.toml`, by which `draftmark run` finds the same run.
    """
    from draftmark.analysis.stored_runs import summarise_run, write_summary
    from draftmark.config.recipe_text import recipe_toml
    from draftmark.grading.sandbox import Sandbox
    from draftmark.pipeline import experiment
    from draftmark.pipeline.save_records import save_records
    from draftmark.pipeline.track_results import track_results
    from draftmark.progress import Progress
    from draftmark.store.files import write_atomically
    from draftmark.store.run_folder import save_results
    from draftmark.store.run_locks import lock_run
    from draftmark.store.store import LOGS, Store

    progress, sandbox = Progress(quiet=options.quiet), Sandbox(unsafe=options.unsafe_code)
    prepared = experiment.plan_experiment(
        recipe, progress, data=data_folder(options.data), sandbox=sandbox
    )
    writable_folder(options.out)
    store = Store(writable_folder(options.store or options.out / "store"))
    directory = options.out / f"{name}-{prepared.key[:8]}"
    with lock_run(store, directory, prepared.nodes):
        results = _run(prepared, name, directory, store, progress, options)
        results = save_records(prepared, results, store, directory)
        save_results(results, directory)
        text = recipe_toml(recipe).encode("utf-8", "replace")
        write_atomically(directory / f"{name}.toml", text)
        write_summary(summarise_run(results), directory)
    logs = store.root / LOGS / f"results-{directory.name}"
    track_results(results, recipe.training.trackers, logs)
    return results, directory


def _run(
    plan: "Plan",
    name: str,
    directory: Path,
    store: "Store",
    progress: "Progress",
    options: RunOptions,
) -> "Results":
    """Run a plan, here or on a cluster, with a journal and a stop flag."""
    from draftmark.pipeline import runner

    execute, jobs = _executor(plan, store, progress, options)
    tracked = track_run(store, directory.name, plan.recipe.title, plan.nodes, jobs)
    with tracked as (journal, stop), progress.stages(len(store.missing(plan.nodes))):
        execute = partial(execute, journal=journal, stop=stop)
        return runner.run_experiment(plan, name, store, progress, execute)


def _executor(
    plan: "Plan", store: "Store", progress: "Progress", options: RunOptions
) -> "tuple[Executor, int]":
    """Return the executor of a run, and the number of stages that this machine makes at once."""
    from draftmark.pipeline.executor import execute_stages

    if options.cluster:
        from draftmark.pipeline.cluster.executor import execute_on_cluster
        from draftmark.pipeline.planning.needs import stage_needs

        return partial(execute_on_cluster, address=options.cluster, needs=stage_needs(plan)), 1
    if not store.missing(plan.nodes):
        return execute_stages, 1
    from draftmark.pipeline.jobs.executor import execute_with_jobs
    from draftmark.pipeline.planning.jobs import plan_jobs

    planned = plan_jobs(plan, store, options.jobs)
    progress.say(planned.describe())
    if planned.jobs == 1:
        return execute_stages, 1
    execute = partial(
        execute_with_jobs,
        jobs=planned.jobs,
        needs=planned.needs,
        memory_bytes=planned.memory_bytes,
    )
    return execute, planned.jobs


@contextmanager
def track_run(
    store: "Store", run: str, title: str, nodes: "Iterable[Node]", jobs: int = 1
) -> "Iterator[tuple[Journal, Stop]]":
    """Yield the run's event journal and its stop flag; `jobs` stages run at once.

    Raises Stopped if Ctrl-C stopped the run, at once or after the running stages.
    """
    from draftmark.pipeline.journal import Journal
    from draftmark.pipeline.stopping import Stop, Stopped

    journal = Journal.open(store, run)
    journal.record_run(title, nodes, store, jobs)
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
