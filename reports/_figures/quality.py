"""Quality against speed: the score of what was decoded with the draft, by its measured speedup."""

from collections.abc import Iterator

from draftmark.reports._figures import clouds
from draftmark.reports._figures.clouds import Cloud
from draftmark.reports._figures.drawing import NUMBER, WHO, Drawing, NotDrawn, number, who
from draftmark.reports._figures.run import Place, Run, drawn_of
from draftmark.results import Contender, Number

NAME = "quality-against-speed"
_ONE = Number(1.0, None, None, 0, "the target alone")


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure."""
    found = [
        item for item, own in run.numbers.items() if {"speedup", "quality_with_draft"} <= own.keys()
    ]
    if not found:
        yield NotDrawn(NAME, "no speed was run")
        return
    methods, drawn, left = drawn_of(run, found, clouds.MOST_PANELS)
    rows = [
        (*who(item), name, *number(run.numbers[item][name]))
        for item in found
        for name in ("speedup", "quality_with_draft", "quality_target_there")
        if name in run.numbers[item]
    ]
    told = [_cloud(run, place, methods, found) for place in drawn]
    yield Drawing(
        NAME,
        "The task's score of what the engine decoded with the draft, by its measured speedup; the "
        "star is the target alone on the same prompts. Verification that loses nothing keeps all "
        "at the star's height. Bars are 95 % intervals.",
        clouds.inches(len(told), methods),
        (*WHO, "quantity", *NUMBER),
        rows,
        lambda figure: clouds.fill(figure, run, told, "measured speedup (times)", "score"),
        left,
    )


def _cloud(run: Run, place: Place, methods: list[str], found: list[Contender]) -> Cloud:
    mine = {
        method: run.numbers[contender]
        for method in methods
        if (contender := Contender(*place, method)) in found
    }
    there = [own["quality_target_there"] for own in mine.values() if "quality_target_there" in own]
    return Cloud(
        run.title(place, 28),
        {method: [(own["speedup"], own["quality_with_draft"])] for method, own in mine.items()},
        [(_ONE, there[0])] if there else [],
    )
