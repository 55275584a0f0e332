"""`draftmark export`: writes a run's feature heads in the layouts that vLLM loads."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from draftmark.errors import UserError
from draftmark.models.token_ids import read_config
from draftmark.pipeline.executor import ensure_entry
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.preflight import check_models
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.speculation.interfaces import Method
from draftmark.store.files import remove_odd_files
from draftmark.store.store import Store

if TYPE_CHECKING:
    from draftmark.models.heads.block_head import BlockHead


def export_heads(plan: Plan, store: Store, out: Path, progress: Progress) -> Iterator[Path]:
    """Yield the written folders: one for each layout of every head in the store.

    A damaged head is trained again. Raises UserError if a model is not as a run needs it, if the
    store has no head of the run, or if vLLM cannot load one.
    """
    check_models(plan, progress)
    heads = [cell for cell in plan.cells if _is_head(plan, cell, store)]
    if not heads:
        raise UserError(
            f"No feature head of this run is in {store.root}; name its store with --store, or run "
            "a recipe with a head, such as eagle3."
        )
    for cell in heads:
        head = ensure_entry(plan.draft(cell), store, progress, threads=plan.recipe.threads)
        yield from _export(plan, cell, head.directory, out)


def _method(plan: Plan, cell: Cell) -> Method:
    entry = plan.recipe.method(cell.method)
    return plan.setting(cell).method_of(entry)


def _is_head(plan: Plan, cell: Cell, store: Store) -> bool:
    return _method(plan, cell).kind == "feature_head" and store.has(plan.draft(cell))


def _export(plan: Plan, cell: Cell, directory: Path, out: Path) -> Iterator[Path]:
    from draftmark.speculation.block_drafter import BlockDrafter
    from draftmark.types import Placement

    drafter = _method(plan, cell).drafter(directory, Placement())
    folder = out / f"{cell.task}-{cell.pair}-{cell.method}-{cell.seed}"
    if isinstance(drafter, BlockDrafter):
        yield from _export_block_head(drafter.head, folder, plan.recipe.pair(cell.pair).target)
    else:
        yield from _export_feature_head(plan, cell, directory, folder)


def _export_feature_head(plan: Plan, cell: Cell, directory: Path, folder: Path) -> Iterator[Path]:
    from draftmark.models.heads.feature_head import load_head
    from draftmark.models.heads.head_exports import LAYOUTS, export_head
    from draftmark.types import Placement

    head = load_head(directory, Placement())
    tokens = plan.recipe.evaluation.num_speculative_tokens
    pair = plan.recipe.pair(cell.pair)
    base = plan.setting(cell).target_as_given.existing_folder
    names = read_config(base / "config.json").get("architectures", ()) if base else ()
    for layout in LAYOUTS[head.model.shape.kind]:
        remove_odd_files(folder / layout)
        export_head(
            head,
            layout,
            folder / layout,
            target=pair.target,
            num_speculative_tokens=tokens,
            architectures=names,
        )
        yield folder / layout


def _export_block_head(head: "BlockHead", folder: Path, target: str) -> Iterator[Path]:
    from draftmark.models.heads.block_exports import block_layouts, export_block_head

    for layout in block_layouts(head):
        remove_odd_files(folder / layout)
        export_block_head(head, layout, folder / layout, target=target)
        yield folder / layout
