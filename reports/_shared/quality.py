"""The leaderboard's sections on quality: scores, how responses ended, samples, the judge."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from draftmark.reports._shared.rows import pooled_of, row_name, shown
from draftmark.reports._shared.sections import Name, Section, Table, three
from draftmark.results import Number, Result, Results

_ARMS = {"with_draft": "with draft", "draft": "draft alone"}
_SAMPLED = {
    "fidelity": "fidelity",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "self_bleu": "Self-BLEU",
}
_Numbers = Mapping[str, Number]


def quality_sections(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield each section that there are numbers for."""
    finished = list(_finished(rows, results))
    if not finished:
        return
    target = next(row.numbers for row in rows if row.numbers)  # it has no seeds
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


def _finished(rows: Sequence[Result], results: Results) -> Iterator[tuple[Name, _Numbers]]:
    """Yield what did not fail, of several seeds all together alone."""
    for contender, cells in groupby(rows, key=lambda row: row.cell.contender):
        if together := pooled_of(contender, results):
            yield Name(f"{contender.method}, {len(together.seeds)} seeds"), together.numbers
        else:
            yield from ((row_name(row.cell, rows), row.numbers) for row in cells if row.numbers)


def _bracketed(numbers: _Numbers, name: str) -> dict[str, str]:
    """Return what else there is of a name, as keys to be filled in with an arm, with titles."""
    start = f"{name}_target["
    found = [key.removeprefix(start)[:-1] for key in numbers if key.startswith(start)]
    return {f"{name}_{{}}[{title}]": title for title in found}


def _by_arm(
    title: str,
    columns: Mapping[str, str],
    target: _Numbers,
    finished: Sequence[tuple[Name, _Numbers]],
) -> Section:
    """Return the table with a line for the target, and for each method with and alone."""
    wanted = [(Name("target alone"), target, "target")]
    wanted.append((Name("target alone, where the engine ran"), target, "target_there"))
    wanted += [
        (Name(f"{label}, {_ARMS[arm]}", label.cell), own, arm)
        for label, own in finished
        for arm in _ARMS
    ]
    body = [
        [label, *(shown(numbers, key.format(arm), three) for key in columns)]
        for label, numbers, arm in wanted
        if any(key.format(arm) in numbers for key in columns)
    ]
    return Section(title, [Table(["", *columns.values()], body)])


def _samples(
    target: _Numbers, finished: Sequence[tuple[Name, _Numbers]], results: Results
) -> Iterator[Section]:
    told = results.recipe["evaluation"].get("samples")
    if not told:
        return
    passes = {key.partition("_")[0] for key in target if key.startswith("pass@")}
    columns = _SAMPLED | {key: key for key in sorted(passes, key=_k)}
    wanted = [(Name("target alone"), target, "target")]
    wanted += [(Name(f"{who}, draft alone", who.cell), own, "draft") for who, own in finished]
    body = [
        [label, f"{t:g}", *(shown(numbers, f"{key}_{who}[t={t:g}]", three) for key in columns)]
        for label, numbers, who in wanted
        for t in told["temperatures"]
        if f"fidelity_{who}[t={t:g}]" in numbers
    ]
    note = (
        f"{told['count']} sampled responses to a prompt; fidelity is their mean score. More of "
        "distinct-n and less of Self-BLEU is more diverse."
    )
    header = ["", "T", *columns.values()]
    yield Section("Fidelity and diversity", [note, Table(header, body)])


def _k(name: str) -> int:
    return int(name.partition("@")[2])


def _judge(finished: Sequence[tuple[Name, _Numbers]], results: Results) -> Iterator[Section]:
    judge = results.recipe["evaluation"].get("judge")
    names = ("win_rate", "judge_flips", "judge_unclear")
    body = [
        [label, *(shown(numbers, name, three) for name in names)]
        for label, numbers in finished
        if "judge_unclear" in numbers
    ]
    if not (judge and body):
        return
    note = (
        f"{judge['model']} compares the response of the draft alone with the "
        f"{judge['against']}'s, in both orders; a tie counts half. Flips: prompts where the two "
        "verdicts differ, so the order decided. n = prompts."
    )
    header = ["draft alone", "win rate", "flips", "without two clear verdicts"]
    yield Section("Judge", [note, Table(header, body)])
