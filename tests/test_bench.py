"""What `make bench` runs does run: little of it, and no claim of how fast."""

import subprocess
import sys

import pytest
from places import ROOT

TINY = "--model tiny-target --layers 0 7 --tasks gsm8k"
TRAINING = f"{TINY} --rows 2 --rows-per-batch 1 --passes 1 --repeats 1"
SMALL = "--prompts 2 --repeats 2 --max-new-tokens 8 --gammas 4"


@pytest.mark.slow
def test_the_bench_of_scoring_prints_every_arm_beside_scoring() -> None:
    command = [sys.executable, "-m", "tests.bench.scoring", *SMALL.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    arms = [row[0].removeprefix("| ") for row in rows[1:]]
    assert arms == [
        "scoring, gamma 1 to 32",
        "the two bare forward passes",
        "reference loop, gamma 4",
        "transformers' assisted generation, gamma 4",
        "reference loop, all of these gammas",
    ]
    assert all(float(row[1]) > 0 for row in rows[1:])
    assert "goal: 20 or more" in done.stdout


@pytest.mark.slow
def test_the_bench_of_training_trains_every_arm_on_the_same_tokens() -> None:
    command = [sys.executable, "-m", "tests.bench.training", *TRAINING.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    arms = [row[0].removeprefix("| ") for row in rows if "tokens/s" not in row]
    assert arms == [
        "draftmark",
        "TRL, GKD trainer",
        "transformers, plain Trainer",
        "draftmark, five methods",
        "five times the draft's passes alone",
    ]
    assert "draftmark / TRL, GKD trainer" in done.stdout
    assert "goal: under 1.4" in done.stdout


@pytest.mark.slow
def test_the_bench_of_rates_prints_each_kind_of_work_beside_plain_products() -> None:
    told = "--model tiny-target --layers 0 7 --rows 2 --rows-per-batch 1 --max-new-tokens 4"
    command = [sys.executable, "-m", "tests.bench.rates", *told.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    works = {row[0].removeprefix("| "): float(row[-1].removesuffix(" |")) for row in rows[1:]}
    assert works.keys() == {"writing, all rows at once", "reading", "training"}
    assert all(0 <= share < 2 for share in works.values())
