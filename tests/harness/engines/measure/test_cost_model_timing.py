"""Timed parts of a block: which ones there are, for every kind of draft."""

from pathlib import Path
from typing import Any

import pytest

from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.engines.measure.cost_model_timing import REPEATS, time_passes
from draftmark.models.language_model import save_model
from draftmark.store.speed_records import TimedPass, read_parts, write_parts
from draftmark.types import Placement


@pytest.fixture
def folders(tiny_directory: Path, draft: Any, tokenizer: Any, tmp_path: Path) -> dict[str, Path]:
    save_model(draft, tokenizer, tmp_path / "draft")
    return {"target": tiny_directory, "draft": tmp_path / "draft"}


def shapes(parts: list[TimedPass], who: str) -> set[tuple[int, int, int]]:
    return {(p.batch_size, p.context, p.width) for p in parts if p.who == who}


def test_a_draft_model_has_steps_and_the_target_passes_of_every_width(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    told: dict[str, Any] = {"batch_sizes": [1, 2], "longest_block": 2, "contexts": (6, 9)}
    parts = time_passes(folders, Untrained(), Placement(), **told)
    passes = {(c, w) for c in (6, 9) for w in (1, 2, 3)} | {(0, 6)}
    assert shapes(parts, "target") == {(b, *shape) for b in (1, 2) for shape in passes}
    steps = {(0, 6), (6, 1), (9, 1)}
    assert shapes(parts, "draft") == {(b, *shape) for b in (1, 2) for shape in steps}
    assert len(parts) == REPEATS * 2 * (len(passes) + len(steps))
    assert all(part.seconds > 0 for part in parts)
    write_parts(tmp_path, parts)
    assert read_parts(tmp_path) == parts


def test_another_draft_is_timed_through_its_session(folders: dict[str, Path]) -> None:
    told: dict[str, Any] = {"batch_sizes": [1, 2], "longest_block": 4, "contexts": (6,)}
    parts = time_passes(folders, PromptLookup(), Placement(), **told)
    assert shapes(parts, "draft") == {(1, 6, 4)}
