"""The page of definitions: those that come with numbers, and how tables are to be read."""

from collections.abc import Sequence

from draftmark.reports._shared.definitions import definitions
from draftmark.results import Results

GLOSSARY = (
    (
        "interval",
        "In brackets: 95 %, over prompts, never over tokens; of several seeds over prompts and "
        "seeds. A bootstrap of ratios of sums, Wilson's interval for shares of yes and no, a t "
        "interval on logs for speedups.",
    ),
    (
        "group",
        "Methods that share a letter could not be told apart by block efficiency: all pairs of "
        "methods of a task and pair, paired on prompts, adjusted by Holm, at 5 %.",
    ),
    ("n", "How many prompts a number is of; of a speedup, blocks of runs A B B A."),
    (
        "T",
        "The temperature of target and draft. At 0 both take their first choice.",
    ),
    (
        "gamma",
        "How many tokens a block drafts at most, where the target then verifies them in one pass.",
    ),
    ("pair", "A target and what its drafts start as."),
    (
        "detectable",
        "The smallest difference that 8 in 10 experiments of this size would find.",
    ),
    ("prompts", "Of a difference: how many prompts would find the one that was seen."),
    ("p", "For no difference at all, after Holm over all comparisons of the run."),
    (
        "published",
        "What a paper prints of the same task, models and method. Its definition, protocol and "
        "source stand on the table's page; neither number tests the other.",
    ),
    ("failed", "There are no numbers, for the reason that the cell's page names."),
)


def all_definitions(runs: Sequence[Results]) -> list[tuple[str, list[str]]]:
    """Return every name with all definitions that some runs give of it, in order of names."""
    known: dict[str, dict[str, None]] = {}
    for results in runs:
        for name, texts in definitions(results).items():
            known.setdefault(name, {}).update(texts)
    return [(name, list(texts)) for name, texts in sorted(known.items())]
