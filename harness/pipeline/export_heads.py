"""`draftmark export`: the feature heads of a run, in the layouts that vLLM loads."""

from collections.abc import Iterator
from pathlib import Path

from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure
from draftmark.pipeline.experiment import Plan
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.speculation.build_method import build_method
from draftmark.store.store import Store


def export_all(plan: Plan, store: Store, out: Path, progress: Progress) -> Iterator[Path]:
    """Yield the folders that are written: of every head in the store, one for each layout.

    A damaged head is trained again. Raises UserError if there is no head of the run, or one that
    vLLM does not load.
    """
    made = [cell for cell, nodes in plan.cells.items() if _is_head(plan, cell, store)]
    if not made:
        raise UserError(
            f"No feature head of this run is in {store.root}; name its store by --store, or run a "
            "recipe with eagle or eagle3."
        )
    for cell in made:
        head = ensure(plan.cells[cell].draft, store, progress, threads=plan.recipe.threads)
        yield from _export(plan, cell, head.directory, out)


def _is_head(plan: Plan, cell: Cell, store: Store) -> bool:
    kind = build_method(plan.recipe.method(cell.method)).kind
    return kind == "feature_head" and store.has(plan.cells[cell].draft)


def _export(plan: Plan, cell: Cell, directory: Path, out: Path) -> Iterator[Path]:
    from draftmark.models.feature_head import load_head
    from draftmark.models.head_exports import LAYOUTS, Verifier, export
    from draftmark.types import Placement

    head = load_head(directory, Placement())
    tokens = plan.recipe.evaluation.num_speculative_tokens
    verifier = Verifier(plan.recipe.pair(cell.pair).target, tokens)
    for layout in LAYOUTS[head.model.shape.kind]:
        folder = out / f"{cell.task}-{cell.pair}-{cell.method}-{cell.seed}" / layout
        export(head, layout, verifier, folder)
        yield folder
