"""Numbers of speed that need no engine: the costs of a draft, and the speedup expected from them.

draftmark's own code times the passes of draft and target, and counts blocks from acceptance. So a
draft has these numbers under a condition even if the engine refuses to run it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from draftmark.analysis.cell_counts import CellCounts
from draftmark.analysis.predicted_speedup import cost_numbers, timed_costs
from draftmark.analysis.recommendation import expected_estimate
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.store.speed_records import TimedPass
from draftmark.types import Verification

DEFINITIONS = {
    "expected_speedup": "speedup of the cost model at the passes and drafted tokens expected on "
    "all scored prompts, prefill included, whichever engine runs the draft; interval over prompts "
    "and repeats of the timed passes",
}
_LEVEL = 0.95


def expected_numbers(
    condition: SpeedCondition, passes: Sequence[TimedPass], counts: CellCounts | None
) -> Mapping[str, Number]:
    """Return c, w and the expected speedup under a condition; nothing before two repeats.

    `counts` are the cell's at the condition's temperature. There is no expected speedup without
    counts of the condition's block length and rule of verification.
    """
    gamma, batch_size = condition.num_speculative_tokens, condition.batch_size
    repeats = timed_costs(passes, batch_size, gamma)
    if len(repeats) < 2:
        return {}
    numbers = cost_numbers(repeats, gamma)
    rule = _rule(condition)
    if counts is None or gamma > counts.longest or rule not in counts.verifications:
        return numbers
    blocks, prompts = counts.blocks(gamma, verification=rule), counts.prompts
    if estimate := expected_estimate(blocks, passes, batch_size, gamma, "the draft", prompts):
        definition = DEFINITIONS["expected_speedup"]
        numbers["expected_speedup"] = replace(estimate.number(_LEVEL), definition=definition)
    return numbers


def _rule(condition: SpeedCondition) -> Verification:
    # At temperature 0 both rules accept the same, and published counts keep the standard one alone.
    return condition.verification if condition.temperature else "standard"
