"""What numbers mean: every definition that results give of a name."""

from draftmark.results import Results


def definitions(results: Results) -> dict[str, dict[str, None]]:
    """Return, of each number's name without its brackets, its definitions in their order."""
    known: dict[str, dict[str, None]] = {}
    for row in results.results:
        for key, number in row.numbers.items():
            known.setdefault(key.partition("[")[0], {})[number.definition] = None
    return known
