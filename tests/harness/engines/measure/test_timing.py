"""Blocks in the order A B B A, every shape warm before, a meter around each run."""

from collections.abc import Sequence
from time import perf_counter

import pytest

from draftmark.analysis.speeds import block_ratios
from draftmark.engines.measure import timing
from draftmark.engines.measure.timing import TimedArm, interleave_arms
from draftmark.store.speed_records import Measurement
from draftmark.types import Decode, Prompt, Round


class Noted:
    """An arm that notes what it was asked, and a meter that counts its runs."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.running = 0

    def decode(self, prompts: Sequence[Prompt]) -> list[Decode]:
        self.asked.append(tuple(prompt.example_id for prompt in prompts))
        return [Decode(p.example_id, (1,), 1, (Round(0, 0),), 0.0, 0.0, "length") for p in prompts]

    def start(self) -> None:
        self.running += 1

    def stop(self) -> tuple[int, float]:
        return 100 * self.running, 0.5


def prompts(*lengths: int) -> list[Prompt]:
    return [Prompt(f"p{length}", (0,) * length) for length in lengths]


def test_every_block_runs_as_a_b_b_a_and_each_run_is_metered() -> None:
    target, draft = Noted(), Noted()
    arms = {"target": TimedArm(target.decode, target), "draft": TimedArm(draft.decode, draft)}
    advanced: list[int] = []
    timed, runs = interleave_arms(  # type: ignore[arg-type]
        arms, [prompts(3, 1), prompts(2, 4)], lambda: advanced.append(1)
    )
    assert [run.arm for run in runs] == ["target", "draft", "draft", "target"] * 2
    assert [run.block for run in runs] == [0] * 4 + [1] * 4
    of_run = [(item.arm, item.block, item.repeat) for item in runs for _ in range(2)]  # 2 prompts
    assert [(item.arm, item.block, item.repeat) for item in timed] == of_run
    assert [run.repeat for run in runs] == [0, 0, 1, 1] * 2
    assert [run.peak_bytes for run in runs if run.arm == "draft"] == [100, 200, 300, 400]
    assert all(run.wall_s >= 0 and run.energy_j == 0.5 for run in runs)
    assert target.asked[:2] == draft.asked[:2] == [("p1",), ("p4",)]  # warm-up, one at a time
    assert len(timed) == 16
    assert len(advanced) == 8


@pytest.mark.parametrize(
    ("batch_size", "warm"), [(1, [("p1",), ("p4",)]), (2, [("p1", "p2"), ("p3", "p4")])]
)
def test_the_shortest_and_the_longest_batch_are_warm_before_the_clock_runs(
    batch_size: int, warm: list[tuple[str, ...]]
) -> None:
    arm = Noted()
    arms = {"target": TimedArm(arm.decode, Noted()), "draft": TimedArm(Noted().decode, Noted())}
    interleave_arms(arms, [prompts(3, 1), prompts(2, 4)], lambda: None, batch_size)  # type: ignore[arg-type]
    assert arm.asked[:2] == warm
    assert arm.asked[2:] == [("p3", "p1")] * 2 + [("p2", "p4")] * 2


def test_the_clock_of_a_processor_needs_no_gpu() -> None:
    before = perf_counter()
    assert before <= timing.synchronised_time("cpu") <= perf_counter()


def test_a_drift_of_the_machine_affects_both_arms_alike() -> None:
    """Each run takes a second longer than the one before; A B B A gives both arms 2.5 seconds."""
    clock = [0.0, 1.0]  # the time, and the seconds of the next run

    class Slower(Noted):
        def decode(self, prompts: Sequence[Prompt]) -> list[Decode]:
            clock[0] += clock[1]
            return super().decode(prompts)

    def advance() -> None:
        clock[1] += 1.0

    arms = {
        "target": TimedArm(Slower().decode, Noted()),
        "draft": TimedArm(Slower().decode, Noted()),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "perf_counter", lambda: clock[0])
        timed, runs = interleave_arms(arms, [prompts(3), prompts(5)], advance)  # type: ignore[arg-type]
    assert [run.wall_s for run in runs] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert block_ratios(Measurement(timed, runs, {})) == [1.0, 1.0]
