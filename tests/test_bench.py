"""The frame of `make bench` measures what it says, and each bench runs: little of it, untimed."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from places import ROOT, in_repository
from scipy import stats

from tests.bench import sizes, training
from tests.bench.__main__ import run
from tests.bench.frame import (
    Arm,
    Comparison,
    Measured,
    Ratio,
    Spent,
    in_own_process,
    measure,
    timed,
)
from tests.bench.results import as_json, processor_flags, table
from tests.bench.series import BEGIN, END, kept_runs, with_series

TRAINING = "--model tiny-target --layers 0 7 --rows 2 --rows-per-batch 1 --passes 1"
SCORING = "--prompts 2 --decoded 1 --max-new-tokens 8"


class Machine:
    """A clock that arms turn on, and a record of who did."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, list[str]()

    def clock(self) -> float:
        return self.now

    def arm(self, name: str, seconds: Callable[[], float]) -> Arm:
        def work() -> None:
            self.calls.append(name)
            self.now += seconds()

        return timed(work, self.clock)


def compared(arms: Mapping[str, Arm], **options: Any) -> Comparison:
    return Comparison("some work", lambda: arms, {}, **options)


def spent(seconds: list[float], **others: Any) -> list[Spent]:
    return [Spent(one, **others) for one in seconds]


def test_repeats_alternate_the_order_of_arms() -> None:
    machine = Machine()
    arms = {name: machine.arm(name, lambda: 1.0) for name in "ABC"}

    measure(compared(arms, most_repeats=3), 100, machine.clock)

    assert "".join(machine.calls) == "ABCCBAABC"


def test_a_machine_that_slows_down_steadily_leaves_the_ratio_as_it_is() -> None:
    machine = Machine()
    arms = {
        "draftmark": machine.arm("draftmark", lambda: 2.0 ** len(machine.calls)),
        "other": machine.arm("other", lambda: 3 * 2.0 ** len(machine.calls)),
    }

    [ratio] = measure(compared(arms, most_repeats=4), 1e9, machine.clock).ratios

    assert ratio.ratio == pytest.approx(3)


@pytest.mark.parametrize(
    ("seconds", "repeats"),
    [(1.0, 1), (39.0, 1), (40.0, 1), (45.0, 2), (64.0, 2), (65.0, 3), (1000.0, 12)],
)
def test_repeats_go_on_while_another_fits_into_the_time(seconds: float, repeats: int) -> None:
    machine = Machine()

    def prepare() -> Mapping[str, Arm]:
        machine.now += 5
        return {name: machine.arm(name, lambda: 10.0) for name in ("draftmark", "other")}

    measured = measure(Comparison("some work", prepare, {}), seconds, machine.clock)

    assert len(measured.spent["draftmark"]) == len(measured.spent["other"]) == repeats
    assert repeats == 1 or machine.now <= seconds


def test_a_ratio_is_the_geometric_mean_with_a_t_interval_on_logarithms() -> None:
    mine, others = [1.0, 2.0, 1.5], [4.0, 5.0, 9.0]
    logs = np.log(np.divide(others, mine))
    low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))

    [ratio] = Measured(
        compared({}, speed_goals={"other": 3.0}), {"draftmark": spent(mine), "other": spent(others)}
    ).ratios

    assert (ratio.ratio, ratio.low, ratio.high) == pytest.approx(
        (np.exp(logs.mean()), np.exp(low), np.exp(high))
    )
    assert (ratio.quantity, ratio.repeats, ratio.goal) == ("speed", 3, 3.0)


def test_the_interval_covers_the_true_ratio_in_95_of_100_benches() -> None:
    noise = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        mine, other = np.exp(noise.normal([[0.0], [np.log(2)]], 0.3, (2, 5)))
        arms = {"draftmark": spent(list(mine)), "other": spent(list(other))}
        [ratio] = Measured(compared({}), arms).ratios
        covered += bool(ratio.low and ratio.high and ratio.low <= 2 <= ratio.high)
    assert stats.binomtest(covered, 400, 0.95).pvalue > 0.01


def test_one_repeat_has_no_interval_and_says_so() -> None:
    [ratio] = Measured(compared({}), {"draftmark": spent([2]), "other": spent([5])}).ratios

    assert (ratio.ratio, ratio.low, ratio.high, ratio.repeats) == (2.5, None, None, 1)
    assert str(ratio) == "2.5, one repeat"


def test_arms_that_do_unequal_amounts_are_compared_by_rate_and_by_memory() -> None:
    arms = {
        "draftmark": spent([2.0, 4.0], amount=100.0, peak_bytes=300),
        "other": spent([1.0, 2.0], amount=10.0, peak_bytes=600),
    }
    goals = {"speed_goals": {"other": 3}, "memory_goals": {"other": 0.5}}
    measured = Measured(compared({}, unit="tokens", **goals), arms)

    speed, memory = measured.ratios

    assert (speed.ratio, memory.ratio) == pytest.approx((5.0, 0.5))
    assert "| 37.5 tokens/s | 7.5 tokens/s | 5, 2 equal repeats (goal ≥ 3) |" in table([measured])
    assert "| 0.5, 2 equal repeats (goal ≤ 0.5) |" in table([measured])


def test_a_process_of_its_own_returns_what_it_took_or_fails_with_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lines = "import sys\nassert sys.argv[1] == 'well', 'it is not well'\n"
    lines += 'print(\'some line\')\nprint(\'{"seconds": 2, "amount": 3, "peak_bytes": 4}\')\n'
    (tmp_path / "some_arm.py").write_text(lines, encoding="utf-8")

    assert in_own_process("some_arm", "well")(0) == Spent(2, 3, 4)
    with pytest.raises(RuntimeError, match="it is not well"):
        in_own_process("some_arm", "ill")(0)


def test_a_comparison_that_fails_loses_none_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: int) -> Spent:
        raise RuntimeError("no such trainer")

    found = [
        compared({"draftmark": timed(lambda: 1), "other": fail}),
        compared({"draftmark": timed(lambda: 1), "other": timed(lambda: 2)}, most_repeats=2),
    ]
    contents: dict[str, Any] = {"comparisons": []}

    assert not run("some bench", found, 1, contents, tmp_path / "new" / "file.json")

    assert "no such trainer" in capsys.readouterr().err
    [kept] = json.loads((tmp_path / "new" / "file.json").read_text("utf-8"))["comparisons"]
    assert len(kept["arms"]["other"]) == kept["ratios"][0]["repeats"] == 2


def test_flags_are_those_that_decide_how_fast_matrices_are_multiplied(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    assert processor_flags(file) == []
    file.write_text("model name\t: A\nflags\t\t: fpu avx2 avx512f sse\n" * 2, encoding="utf-8")
    assert processor_flags(file) == ["avx2", "avx512f"]


def _run(commit: str, date: str, arms: dict[str, list[Spent]]) -> dict[str, Any]:
    machine = {"processor": "A processor", "cores": 2, "flags": ["avx2"]}
    facts = {"commit": commit, "date": date, "dirty": False, "machine": machine}
    comparison = as_json("some bench", Measured(compared({}), arms))
    return {
        **facts,
        "python": "3.13.0",
        "torch": "2.13.0",
        "load": 0.5,
        "comparisons": [comparison],
    }


def test_the_series_has_a_column_for_each_run_the_newest_first(tmp_path: Path) -> None:
    older = {"draftmark": spent([1, 1]), "before": spent([2, 2]), "other": spent([3, 3])}
    newer = {"draftmark": spent([1, 1]), "other": spent([4, 4])}
    for name, contents in {
        "a": _run("a" * 40, "2026-01-02T03:04:05+00:00", older),
        "b": _run("b" * 40, "2026-02-03T04:05:06+00:00", newer),
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(contents), encoding="utf-8")

    page = with_series(f"Before {BEGIN} old {END} after", kept_runs(tmp_path))

    assert page.startswith("Before ")
    assert page.endswith(" after")
    assert "old" not in page
    assert "| bbbbbbbb | 2026-02-03 | A processor, 2 cores | 0.5 | avx2 | 3.13.0 | 2.13.0 |" in page
    lines = page.splitlines()
    assert "| ratio | bbbbbbbb | aaaaaaaa |" in lines
    assert "| some work: speed beside other | 4, 2 equal repeats | 3, 2 equal repeats |" in lines
    assert "| some work: speed beside before |  | 2, 2 equal repeats |" in lines


def test_the_page_of_the_series_is_written_from_the_kept_runs() -> None:
    page = in_repository("docs/bench.md").read_text("utf-8")
    runs = kept_runs(in_repository("reports/bench"))

    assert runs
    assert with_series(page, runs) == page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bench", "options", "arms"),
    [
        (
            "starting",
            "",
            [
                ["draftmark --help", "importing typer, rich and pydantic"],
                ["draftmark list", "importing typer, rich and pydantic"],
            ],
        ),
        (
            "scoring",
            SCORING,
            [
                [
                    "scoring, gamma 1 to 32",
                    "the two bare forward passes",
                    "reference loop, gamma 4",
                    "transformers' assisted generation, gamma 4",
                ]
            ],
        ),
        (
            "decoding",
            "--models tiny-target --batches 1 3 --max-new-tokens 6",
            [["draftmark", "transformers' generate"]] * 4,
        ),
        (
            "training",
            TRAINING,
            [
                ["draftmark", "TRL, GKD trainer", "transformers, plain Trainer"],
                ["draftmark, five methods", "five times the draft's passes alone"],
            ],
        ),
        pytest.param(
            "sizes",
            f"{TRAINING} --without-vllm",
            [list(sizes.CHANGES), ["whole target", "target half on disk"]],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_each_bench_writes_what_every_arm_took(
    bench: str, options: str, arms: list[list[str]], python: str, tmp_path: Path
) -> None:
    python = sys.executable if bench == "starting" else python  # its arms do not import torch
    command = [python, "-m", "tests.bench", "--minutes", "0.001", "--out", str(tmp_path)]
    done = subprocess.run([*command, bench, *options.split()], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    [file] = tmp_path.glob("*.json")
    contents = json.loads(file.read_text("utf-8"))
    assert [list(one["arms"]) for one in contents["comparisons"]] == arms
    for one in contents["comparisons"]:
        assert all(each["seconds"] > 0 for repeats in one["arms"].values() for each in repeats)
        speeds = [ratio for ratio in one["ratios"] if ratio["quantity"] == "speed"]
        assert [ratio["other"] for ratio in speeds] == list(one["arms"])[1:]
        assert all(str(Ratio(**ratio)) in done.stdout.decode() for ratio in one["ratios"])


@pytest.mark.parametrize("arm", [training.ours, training.passes_alone])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_arms_of_training_compute_in_the_dtype_that_is_chosen(
    arm: Callable[[training.Bench], None], dtype: str
) -> None:
    words = [*TRAINING.split(), "--dtype", dtype]
    bench, seen = training.prepare(training.options().parse_args(words)), set[torch.dtype]()
    layer = bench.draft.model.base_model.layers[0].mlp.down_proj
    layer.register_forward_hook(lambda _, __, output: seen.add(output.dtype))

    arm(bench)

    # Whether rows can share a sequence is tried in float32 first.
    assert (torch.bfloat16 in seen) == (dtype == "bfloat16")
    assert {each.facts["dtype"] for each in training.comparisons(words)} == {dtype}


@pytest.mark.slow
def test_the_bench_of_rates_prints_each_kind_of_work_beside_plain_products(python: str) -> None:
    told = "--model tiny-target --layers 0 7 --rows 2 --rows-per-batch 1 --max-new-tokens 4"
    command = [python, "-m", "tests.bench.rates", *told.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    works = {row[0].removeprefix("| "): float(row[-1].removesuffix(" |")) for row in rows[1:]}
    assert works.keys() == {"writing, all rows at once", "reading", "training"}
    assert all(0 <= share < 2 for share in works.values())
