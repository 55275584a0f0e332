"""Fidelity against diversity of sampled responses: a line over temperatures for each draft alone.

As CSD's figure has it (Kim et al. 2025, arXiv 2509.25837): up and to the right is better.
"""

from collections.abc import Iterator, Mapping

from draftmark.reports._figures import clouds
from draftmark.reports._figures.clouds import Cloud
from draftmark.reports._figures.drawing import NUMBER, Drawing, NotDrawn, Numbers, number, who
from draftmark.reports._figures.run import Place, Run, drawn_of
from draftmark.results import Contender

NAME, ACROSS, UP = "fidelity-against-diversity", "distinct_2", "fidelity"
_QUANTITIES = (UP, "distinct_1", ACROSS, "self_bleu")


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure."""
    told = run.results.recipe["evaluation"].get("samples")
    temperatures = list(told["temperatures"]) if told else []
    found = {item: own for item, own in run.numbers.items() if _points(own, "draft", temperatures)}
    if not found:
        why = "the recipe asks for no samples" if not told else "no draft has samples"
        yield NotDrawn(NAME, f"{why} ([evaluation.samples])")
        return
    methods, drawn, left = drawn_of(run, found, clouds.MOST_PANELS)
    panels = [_cloud(run, place, methods, found, temperatures) for place in drawn]
    shown = [method for method in methods if any(method in panel.points for panel in panels)]
    yield Drawing(
        NAME,
        f"Fidelity (mean score) against diversity (distinct-2, different pairs of words / pairs) "
        f"of {told['count']} sampled responses to a prompt, of drafts alone and of the target; "
        f"a point for each temperature, which stands beside the target's. Bars are 95 % intervals.",
        clouds.inches(len(panels), shown),
        ("task", "pair", "method", "whose", "temperature", "quantity", *NUMBER),
        [
            (*who(item), whose, temperature, quantity, *number(own[key]))
            for item, own in found.items()
            for whose in ("draft", "target")
            for temperature in temperatures
            for quantity in _QUANTITIES
            if (key := f"{quantity}_{whose}[t={temperature:g}]") in own
        ],
        lambda figure: clouds.fill(figure, run, panels, "diversity, distinct-2", "fidelity"),
        left,
    )


def _points(numbers: Numbers, whose: str, temperatures: list[float]) -> clouds.Points:
    return [
        (numbers[across], numbers[up])
        for temperature in temperatures
        for across, up in [[f"{name}_{whose}[t={temperature:g}]" for name in (ACROSS, UP)]]
        if across in numbers and up in numbers
    ]


def _cloud(
    run: Run,
    place: Place,
    methods: list[str],
    found: Mapping[Contender, Numbers],
    temperatures: list[float],
) -> Cloud:
    mine = {
        method: found[contender]
        for method in methods
        if (contender := Contender(*place, method)) in found
    }
    target = [_points(own, "target", temperatures) for own in mine.values()]
    return Cloud(
        run.title(place, 28),
        {method: _points(own, "draft", temperatures) for method, own in mine.items()},
        target[0] if target else [],
        [f"T = {temperature:g}" for temperature in temperatures],
    )
