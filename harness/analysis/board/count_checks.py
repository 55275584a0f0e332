"""What is impossible in the counts of a submission, or there twice.

Each check yields one sentence for each fault.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from draftmark.analysis.board.counts import Condition, Counts, PromptCounts
from draftmark.analysis.board.submission import Submission
from draftmark.analysis.board.suite import Suite
from draftmark.analysis.count_columns import count_fault, prompt_fault
from draftmark.analysis.published_counts import DECIMALS
from draftmark.store.acceptance_tables import Floats

_ROUNDING = 10.0**-DECIMALS  # of counts that were published before
_LENGTHS = 5  # different lengths of texts, which texts of another temperature do not repeat


class Texts(NamedTuple):
    """The texts that a cell was scored on; `most` is their limit in tokens.

    `is_greedy` is True if the draft drafts its most likely tokens at temperature 0.
    """

    task: str
    number: int
    most: int
    is_greedy: bool


def count_faults(submission: Submission, suite: Suite) -> Iterator[str]:
    """Yield what is impossible in the counts of a submission to a suite, or there twice."""
    recipe = submission.results.recipe
    cells = {
        place: Texts(
            row.cell.task,
            len(suite.tasks[row.cell.task].prompts),
            submission.data[row.cell.task]["max_new_tokens"],
            _drafts_greedily(recipe, row.cell.task),
        )
        for place, row in enumerate(submission.results.results)
    }
    if faults := list(impossible_counts(submission.counts, cells)):
        yield from faults
    else:
        yield from dict.fromkeys(_relabelled(submission))
        yield from _repeated_seeds(submission)


def _drafts_greedily(recipe: Mapping[str, Any], task: str) -> bool:
    """True if drafts are greedy at temperature 0: they have no temperature of their own."""
    parts = recipe, recipe.get("by_task", {}).get(task, {})
    samplers = [part.get("evaluation", {}).get("draft") or {} for part in parts]
    return not any(sampler.get("temperature") for sampler in samplers)


def impossible_counts(counts: Counts, cells: Mapping[int, Texts]) -> Iterator[str]:
    """Yield what is impossible in counts, each reason once; `cells` has the texts of each cell."""
    found: dict[str, list[Condition]] = {}
    lengths: dict[tuple[str, float], Floats] = {}
    for at, own in counts.items():
        if at.cell not in cells:
            yield f"there are counts of cell {at.cell}, which the results do not have"
        elif reason := _reason(at, own, cells[at.cell]) or _other_lengths(at, own, cells, lengths):
            found.setdefault(reason, []).append(at)
    for reason, places in found.items():
        more = f" and {len(places) - 1} more conditions" if len(places) > 1 else ""
        yield f"{_where(places[0])}{more}: {reason}"


def _other_lengths(
    at: Condition,
    own: PromptCounts,
    cells: Mapping[int, Texts],
    lengths: dict[tuple[str, float], Floats],
) -> str:
    """Return a reason if texts have other lengths than in `lengths`, which gets new texts."""
    tokens_B = own.columns["tokens"]
    first_B = lengths.setdefault((cells[at.cell].task, at.temperature), tokens_B)
    same = np.array_equal(first_B, tokens_B)
    return "" if same else "the texts have other lengths than elsewhere in the submission"


def _reason(at: Condition, own: PromptCounts, texts: Texts) -> str:
    """Return why the counts of a condition cannot be, "" if they can."""
    fault = prompt_fault(own.prompts_B, texts.number, "suite")
    if fault := fault or count_fault(at.gamma, own.columns, _ROUNDING):
        return fault
    if (own.columns["tokens"] > texts.most).any():
        return f"a text is longer than its limit of {texts.most} tokens"
    if not at.temperature and texts.is_greedy and not own.are_whole:
        return "a count is no whole number, so it is of another temperature"
    return ""


def _where(at: Condition) -> str:
    rule = ", block verification" if at.verification == "block" else ""
    return f"cell {at.cell}, temperature {at.temperature:g}, blocks of {at.gamma}{rule}"


def _relabelled(submission: Submission) -> Iterator[str]:
    """Yield counts of temperature 0 that stand under another temperature, with other texts."""
    for at, own in submission.counts.items():
        task = submission.results.results[at.cell].cell.task
        greedy = submission.counts.get(at._replace(temperature=0.0))
        texts = {submission.text_digest(task, it) for it in (0.0, at.temperature)}
        several = len(set(own.columns["tokens"].tolist())) >= _LENGTHS
        if greedy and several and len(texts) > 1 and own.equals(greedy):
            yield f"{task}: the counts at temperature {at.temperature:g} are those at temperature 0"


def _repeated_seeds(submission: Submission) -> Iterator[str]:
    """Yield seeds of a training with equal counts, which are sums of probabilities."""
    for task, places in submission.cells.items():
        seen: dict[bytes, int] = {}
        for place in places:
            row = submission.results.results[place]
            own = [submission.counts[at] for at in sorted(submission.counts) if at.cell == place]
            if row.ledger and row.ledger.steps and not all(it.are_whole for it in own):
                mark = b"".join(it.columns["passes"].tobytes() for it in own)
                first = seen.setdefault(mark, row.cell.seed)
                if first != row.cell.seed:
                    yield f"{task}: the counts of seed {row.cell.seed} are those of seed {first}"
