"""The leaderboard's sections on quality: scores, outcomes, sampled responses, the judge."""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.analysis.titles import score_title
from draftmark.reports._shared.content import RowName, Section, Table, table_section
from draftmark.reports._shared.rows import (
    by_contender,
    number_entry,
    pooled_name,
    pooled_of,
    row_name,
)
from draftmark.results import Number, Result, Results

_ARMS = {"with_draft": "with draft", "draft": "draft alone"}
_SAMPLED = {
    "fidelity": "fidelity",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "self_bleu": "Self-BLEU",
}
_Numbers = Mapping[str, Number]
_Named = Sequence[tuple[RowName, _Numbers]]


def quality_sections(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the quality sections for which the results have numbers."""
    finished = list(_finished(rows, results))
    if not finished:
        return
    target = next(row.numbers for row in rows if row.numbers)  # the target has no seeds
    if "quality_target" in target:
        scores = {"quality_{}": target["quality_target"].definition.partition(" of ")[0]}
        scores |= _bracketed(target, "quality")
        scores["reference_log_likelihood_{}"] = "log-likelihood of the gold answer, nats per token"
        yield _by_arm("Quality", scores, target, finished)
        outcomes = {"truncated_{}": "truncated", "empty_{}": "empty"}
        outcomes |= _bracketed(target, "outcome")
        yield _by_arm("Outputs", outcomes, target, finished)
    yield from _samples(target, finished, results)
    yield from _judge(finished, results)


def _finished(rows: Sequence[Result], results: Results) -> Iterator[tuple[RowName, _Numbers]]:
    """Yield the name and numbers of each successful contender; several seeds only pooled."""
    for contender, cells in by_contender(rows):
        if pooled := pooled_of(contender, results):
            yield pooled_name(pooled), pooled.numbers
        else:
            yield from ((row_name(row.cell, rows), row.numbers) for row in cells if row.numbers)


def _bracketed(numbers: _Numbers, name: str) -> dict[str, str]:
    """Return key patterns and titles, such as {"quality_{}[rouge1]": "rouge1"}; {} is the arm."""
    start = f"{name}_target["
    found = [key.removeprefix(start)[:-1] for key in numbers if key.startswith(start)]
    return {f"{name}_{{}}[{title}]": title for title in found}


def _by_arm(title: str, columns: Mapping[str, str], target: _Numbers, finished: _Named) -> Section:
    """Return a table with lines for the target, and for each method with draft and alone."""
    wanted = [(RowName("target alone"), target, "target")]
    wanted.append((RowName("target alone, where the engine ran"), target, "target_there"))
    wanted += [
        (RowName(f"{name}, {_ARMS[arm]}", name.cell), own, arm)
        for name, own in finished
        for arm in _ARMS
    ]
    body = [
        [name, *(number_entry(numbers, key.format(arm), 3) for key in columns)]
        for name, numbers, arm in wanted
        if any(key.format(arm) in numbers for key in columns)
    ]
    return Section(title, [Table(["", *map(score_title, columns.values())], body)])


def _samples(target: _Numbers, finished: _Named, results: Results) -> Iterator[Section]:
    samples = results.recipe["evaluation"].get("samples")
    if not samples:
        return
    passes = {key.partition("_")[0] for key in target if key.startswith("pass@")}
    by_k = sorted(passes, key=lambda name: int(name.partition("@")[2]))
    columns = _SAMPLED | {key: key for key in by_k}
    wanted = [(RowName("target alone"), target, "target")]
    wanted += [(RowName(f"{name}, draft alone", name.cell), own, "draft") for name, own in finished]
    body = [
        [name, f"{t:g}", *(number_entry(own, f"{key}_{arm}[t={t:g}]", 3) for key in columns)]
        for name, own, arm in wanted
        for t in samples["temperatures"]
        if f"fidelity_{arm}[t={t:g}]" in own
    ]
    note = (
        f"{samples['count']} sampled responses per prompt; fidelity is their mean score. Higher "
        "distinct-n and lower Self-BLEU mean more diverse responses."
    )
    yield Section("Fidelity and diversity", [note, Table(["", "T", *columns.values()], body)])


def _judge(finished: _Named, results: Results) -> Iterator[Section]:
    judge = results.recipe["evaluation"].get("judge")
    keys = ("win_rate", "judge_flips", "judge_unclear")
    body = [
        [name, *(number_entry(numbers, key, 3) for key in keys)]
        for name, numbers in finished
        if "judge_unclear" in numbers
    ]
    if not judge:
        return
    note = (
        f"{judge['model']} compares the response of the draft alone with the "
        f"{judge['against']}'s, in both orders; a tie counts half. Flips: prompts on which "
        "the two orders give different verdicts. n = prompts."
    )
    header = ["draft alone", "win rate", "flips", "without two clear verdicts"]
    yield from table_section("Judge", [note], header, body)
