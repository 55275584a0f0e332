"""What to set in a recipe so that a stage fits one GPU, or several: the first setting that does."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from draftmark.config.model_sections import Optimisation, Pair
from draftmark.errors import UserError
from draftmark.pipeline.planning.estimates import Gpu
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.results import Cell
from draftmark.store.graph import Node

_LEAST: Mapping[str, Any] = {"gradient_checkpointing": True, "rows_at_once": 1}
_PROCESSES = (2, 4, 8, 16, 32, 64)


def find_remedy(costs: SettingCosts, node: Node, cell: Cell, gpu: Gpu) -> tuple[str, int]:
    """Return the keys that let a stage fit, in words, and on how many GPUs; 0 if none does."""
    for keys, changed in _candidates(costs, node, cell):
        try:
            devices = changed.cost(node, cell).devices(gpu)
        except UserError:
            continue
        if devices is not None:
            return f"set {keys}", devices
    return "no key makes it fit; take a GPU with more memory", 0


def _candidates(costs: SettingCosts, node: Node, cell: Cell) -> Iterator[tuple[str, SettingCosts]]:
    """Yield changes of a recipe, the simplest first, with the stage costs under them."""
    pair, recipe = costs.setting.pair, costs.setting.recipe
    if node.stage == "target":
        assert pair.fine_tune is not None
        for keys, tuned in _trainings(pair.fine_tune):
            yield f"{keys} in fine_tune", _with_pair(costs, fine_tune=tuned)
        return
    placed = _with_pair(costs, placement="auto")
    if pair.memory is None:
        yield 'placement = "auto"', placed
    if node.stage != "draft":
        return
    for keys, training in _trainings(recipe.training_of(recipe.method(cell.method))):
        own = training.model_dump(mode="json")
        for before, base in (("", costs), ('placement = "auto" and ', placed)):
            yield f"{before}{keys} in training", _with_training(base, cell, own)


def _trainings(settings: Optimisation) -> Iterator[tuple[str, Any]]:
    """Yield settings of a training that take less memory, in words and as a section."""
    ways: list[dict[str, Any]] = [{"gradient_checkpointing": True}, dict(_LEAST)]
    ways += [{**_LEAST, "processes": count, "sharded": True} for count in _PROCESSES]
    for way in ways:
        keys = ", ".join(f"{name} = {str(value).lower()}" for name, value in way.items())
        yield keys, settings.model_copy(update=way)


def _with_pair(costs: SettingCosts, **changes: Any) -> SettingCosts:
    pair: Pair = costs.setting.pair.model_copy(update=changes)
    return replace(costs, setting=replace(costs.setting, pair=pair))


def _with_training(costs: SettingCosts, cell: Cell, own: Mapping[str, Any]) -> SettingCosts:
    recipe = costs.setting.recipe
    methods = tuple(
        each.model_copy(update={"training": dict(own)}) if each.title == cell.method else each
        for each in recipe.methods
    )
    changed = recipe.model_copy(update={"methods": methods})
    return replace(costs, setting=replace(costs.setting, recipe=changed))
