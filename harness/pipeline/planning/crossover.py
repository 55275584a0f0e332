"""The lines of a plan on the target's states for training: stored once, or read in every step."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.pipeline.planning.state_costs import StateCosts
from draftmark.pipeline.stages.drafts import training_of
from draftmark.text import format_bytes

Draft = tuple[str, str, StateCosts]  # title, features, costs


def crossover_lines(setting_costs: Mapping[tuple[str, str], SettingCosts]) -> Iterator[str]:
    """Yield a line for the drafts of each task and pair whose training reads the same states."""
    for (task, pair), costs in setting_costs.items():
        alike: dict[tuple[float, float], list[Draft]] = defaultdict(list)
        for draft in _drafts(costs):
            alike[draft[2].stored_bytes, draft[2].stored_flops].append(draft)
        seeds = len(costs.setting.recipe.seeds)
        for drafts in alike.values():
            yield _line(f"{task}, {pair}", drafts, seeds)


def _drafts(costs: SettingCosts) -> Iterator[Draft]:
    """Yield the drafts that train on texts that are there before."""
    for entry in costs.setting.recipe.methods:
        setting = costs.setting.for_entry(entry)
        method, training = setting.method_of(entry), training_of(setting, entry)
        if method.trains and set(training.shares) != {"draft"}:
            yield entry.title, training.features, costs.training_states(method, training)


def _line(where: str, drafts: list[Draft], seeds: int) -> str:
    titles = ", ".join(f"{title} {features}" for title, features, _ in drafts)
    states = [costs for _, _, costs in drafts]
    live = seeds * sum(costs.live_flops for costs in states)
    passes = seeds * sum(costs.passes for costs in states)
    return (
        f"- Target's states for training, {where} ({titles}): stored "
        f"{format_bytes(states[0].stored_bytes)} and {states[0].stored_flops:.1e} FLOPs; live no "
        f"disk and {live:.1e} FLOPs ({passes:.3g} passes of all drafts together; up to "
        f"{states[0].crossover:.3g}, live takes no more FLOPs)."
    )
