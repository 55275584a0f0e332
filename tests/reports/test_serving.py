"""What to serve with: of drafts whose acceptance and costs are known, the answer in as many words.

Every token of a draft is accepted with the same probability a, so a block of gamma that costs
nothing gives (1 - a^(gamma+1)) / (1 - a) tokens (Leviathan et al. 2023, theorem 3.8).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from draftmark.reports.speed import REPORT as SPEED
from draftmark.reports.what_if import REPORT as WHAT_IF
from draftmark.results import Number, Results
from draftmark.store.records import DECODES, write_decodes, write_rows
from draftmark.store.speed_records import RUNS, TimedPass, read_parts, write_parts
from draftmark.types import Arm, Decode, TimedDecode
from tests.reports.test_what_if import run_of

ARMS: tuple[Arm, ...] = ("target", "draft")
TERMS = "engine=reference,t=0,batch=1,length=natural"


def with_parts(results: Results, directory: Path, draft: float, batches: dict[int, float]) -> None:
    """Write parts of blocks of up to 4 tokens; of each batch size how much wider passes cost."""
    told = []
    for repeat in range(7):
        for batch, wider in batches.items():
            told.append(TimedPass("draft", repeat, batch, 9, 1, draft))
            told += [
                TimedPass("target", repeat, batch, 9, width, 1.0 + wider * (width - 1))
                for width in range(1, 6)
            ]
    for row in results.results:
        write_parts(directory / row.records, told)


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("- T=")]


def test_the_answer_names_draft_block_length_speedup_and_the_last_batch_that_pays(
    tmp_path: Path,
) -> None:
    results = run_of(tmp_path, {"kd": (0.8,), "untrained": (0.1,)})
    with_parts(results, tmp_path, 0.1, {1: 0.0, 4: 0.2, 16: 0.9})
    lines = lines_of(str(WHAT_IF(results, tmp_path)["what_if.md"]))
    # At c = 0.1 blocks of 4 give 3.36 / 1.4; at c + w = 0.3 blocks of 3 give 2.95 / 1.9, the most.
    assert "batch 1, cost model: **kd, num_speculative_tokens = 4: 2.39" in lines[0]
    assert "untrained is slower, at best 1.00" in lines[0]
    assert "batch 4, cost model: **kd, num_speculative_tokens = 3: 1.55" in lines[1]
    assert "batch 16, cost model: **no draft** is known to pay. kd is slower" in lines[2]
    assert "batch too large: a drafted token saves" in lines[2]
    assert lines[3] == "- T=0, cost model: **a draft pays up to batch 4**, of 1, 4, 16."
    assert len(lines) == 8  # the same again at temperature 1


def test_without_timed_parts_what_if_says_how_to_have_them(tmp_path: Path) -> None:
    text = str(WHAT_IF(run_of(tmp_path, {"kd": (0.5,)}), tmp_path)["what_if.md"])
    assert "With `cost_model = true` in the recipe's `[speed]`" in text
    assert not lines_of(text)


def test_a_lookup_timed_at_one_text_is_judged_at_larger_batches_only_where_it_pays(
    tmp_path: Path,
) -> None:
    for draft, said in ((0.01, "**lookup, num"), (0.3, "lookup is not known to pay")):
        directory = tmp_path / str(draft)
        results = run_of(directory, {"lookup": (0.5,)})
        with_parts(results, directory, draft, {1: 0.0, 8: 0.0})
        folder = directory / results.results[0].records
        write_parts(
            folder, [p for p in read_parts(folder) if (p.who, p.batch_size) != ("draft", 8)]
        )
        lines = lines_of(str(WHAT_IF(results, directory)["what_if.md"]))
        assert said in lines[1]


def timed(directory: Path, mark: str, ratios: Sequence[float]) -> None:
    """Write a speed run whose blocks have these speedups: 10 tokens in each run."""
    decodes = [
        TimedDecode(arm, b, repeat, Decode(f"{b}", tuple(range(10)), 3, (), 0.1, 1.0, "length"))
        for b in range(len(ratios))
        for arm in ARMS
        for repeat in range(2)
    ]
    write_decodes(directory / DECODES.replace(".", f"{mark}."), decodes)
    clock = [
        {"arm": arm, "block": b, "repeat": r, "wall_s": ratio if arm == "target" else 1.0}
        for b, ratio in enumerate(ratios)
        for arm in ARMS
        for r in range(2)
    ]
    write_rows(directory / RUNS.replace(".", f"{mark}."), clock)


def test_measured_block_lengths_that_cannot_be_told_apart_are_said_to_be_tied(
    tmp_path: Path,
) -> None:
    results = run_of(tmp_path, {"kd": (0.8,)})
    row, numbers = results.results[0], {}
    blocks = {1: (1.2, 1.21, 1.19, 1.2), 3: (1.5, 1.52, 1.48, 1.5), 5: (1.48, 1.55, 1.53, 1.47)}
    for index, (gamma, ratios) in enumerate(blocks.items()):
        timed(tmp_path / row.records, f"-{index}" if index else "", ratios)
        numbers[f"speedup[gamma={gamma},{TERMS}]"] = Number(1.0, 0.9, 1.1, 4, "")
    results = replace(results, results=(replace(row, numbers=numbers),))
    told = {"num_speculative_tokens": [1, 3, 5], "blocks": 4, "length": "natural"}
    results = replace(results, recipe={**results.recipe, "speed": told})
    text = str(SPEED(results, tmp_path)["speed.md"])
    line = lines_of(text)[0]
    assert line.startswith(
        "- T=0, batch 1, measured by reference: **kd, num_speculative_tokens = 3: 1.50 ["
    )
    assert "Not significantly different: blocks of 5 (highest estimate: blocks of 5, 1.50" in line
