"""A recipe run and published: its stages, its results, their records, in a folder of their own."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.options import folder, writable
from harness.published import Results

if TYPE_CHECKING:
    from harness.config import Recipe
    from harness.experiment import Plan
    from harness.progress import Progress
    from harness.store import Store


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
    from harness import experiment, runner
    from harness.progress import Progress
    from harness.sandbox import Sandbox
    from harness.storage.holds import held
    from harness.storage.results import save_results
    from harness.store import Store

    progress = Progress()
    sandbox = Sandbox(unsafe=places.unsafe_code)
    prepared = experiment.plan(recipe, progress, data=folder(places.data), sandbox=sandbox)
    writable(places.out)
    store = Store(writable(places.store or places.out / "store"))
    directory = places.out / f"{name}-{prepared.key[:8]}"
    with held(store, directory, prepared.nodes):
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
    from harness import fanout, runner
    from harness.scheduling.watching import watched

    with watched(store, directory.name, prepared.recipe.title, prepared.nodes) as (journal, stop):
        make = partial(fanout.execute, journal=journal, stop=stop)
        if cluster:
            from harness.scheduling import cluster as fleet
            from harness.scheduling import needs

            needed = needs.of(prepared)
            make = partial(fleet.execute, address=cluster, needs=needed, journal=journal, stop=stop)
        return runner.run(prepared, name, store, progress, make)
