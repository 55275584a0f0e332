"""Simulated schedules: bounds that hold for every graph, cases by hand, a thousand cells."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.pipeline.planning.schedule import Schedule, Work, critical_path, ranks, simulate


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Work]:
    """Return works, each with inputs among those before it."""
    works: dict[str, Work] = {}
    for index in range(draw(st.integers(1, 12))):
        inputs = draw(st.sets(st.sampled_from(list(works)), max_size=3)) if works else set()
        seconds = draw(st.integers(0, 5))
        works[str(index)] = Work(seconds, draw(st.integers(0, 1)), tuple(sorted(inputs)))
    return works


def _used(made: Schedule, moment: float) -> list[int]:
    running = [slot for slot in made.slots.values() if slot.start <= moment < slot.end]
    return [gpu for slot in running for gpu in slot.gpus]


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_a_schedule_keeps_order_shares_no_gpu_and_lasts_within_the_bounds(
    works: dict[str, Work], gpus: int
) -> None:
    made = simulate(works, gpus)

    assert made.slots.keys() == works.keys()
    for key, slot in made.slots.items():
        assert all(made.slots[up].end <= slot.start for up in works[key].inputs)
        assert len(slot.gpus) == works[key].gpus
        used = _used(made, slot.start)
        assert len(set(used)) == len(used)
        assert set(used) <= set(range(gpus))
    chain = sum(works[key].seconds for key in critical_path(works))
    shared = sum(work.gpu_s for work in works.values()) / gpus
    assert max(chain, shared) <= made.makespan <= chain + shared
    assert 0 <= made.efficiency <= 1


def test_the_longest_chain_goes_first() -> None:
    works = {"a": Work(1), "b": Work(1), "c": Work(1), "d": Work(3, inputs=("c",))}

    assert ranks(works) == {"a": 1, "b": 1, "c": 4, "d": 3}
    assert critical_path(works) == ["c", "d"]
    made = simulate(works, 2)
    assert (made.slots["c"].start, made.makespan, made.efficiency) == (0, 4, 6 / 8)


def test_a_stage_on_several_gpus_waits_for_all_of_them_and_takes_its_own_each() -> None:
    works = {"long": Work(2), "wide": Work(1, gpus=2), "short": Work(0.5)}

    made = simulate(works, 2)

    assert made.slots["wide"].gpus == (0, 1)
    assert made.slots["wide"].start == 2
    assert made.slots["short"].end == 0.5
    with pytest.raises(ValueError, match="2 GPUs, of 1"):
        simulate(works, 1)


def test_what_needs_no_gpu_waits_for_none() -> None:
    works = {"gpu": Work(5), "a": Work(2, gpus=0), "b": Work(2, gpus=0, inputs=("a",))}

    assert simulate(works, 1).slots["b"].end == 4


def test_inputs_that_are_there_already_are_not_waited_for() -> None:
    assert simulate({"a": Work(1, inputs=("made before",))}, 1).makespan == 1


def _cells(count: int) -> dict[str, Work]:
    """Return the stages of so many cells: 40 tasks and pairs of 5 methods with 5 seeds each."""
    draw, works = random.Random(0), dict[str, Work]()
    for site in range(count // 25):
        size = draw.uniform(0.5, 2.0)
        works[f"{site} texts"] = Work(600 * size)
        works[f"{site} features"] = Work(120 * size, inputs=(f"{site} texts",))
        for cell in range(25):
            name = f"{site} {cell}"
            draft = Work(draw.uniform(600, 1800) * size, inputs=(f"{site} features",))
            works[f"{name} draft"] = draft
            works[f"{name} scores"] = Work(60 * size, inputs=(f"{name} draft",))
            works[f"{name} decodes"] = Work(300 * size, inputs=(f"{name} draft",))
            works[f"{name} grades"] = Work(0, 0, (f"{name} decodes",))
    return works


def test_twice_as_many_workers_keep_nine_tenths_of_their_use_on_a_thousand_cells() -> None:
    works = _cells(1000)
    spans = {gpus: simulate(works, gpus).makespan for gpus in (1, 2, 4, 8, 16, 32, 64)}

    for gpus in (1, 2, 4, 8, 16, 32):
        assert spans[gpus] / spans[2 * gpus] >= 2 * 0.9
    assert simulate(works, 64).efficiency >= 0.9
