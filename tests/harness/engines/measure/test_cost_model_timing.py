"""Timed parts of a block: which ones there are, for every kind of draft."""

from pathlib import Path
from typing import Any

import pytest

from draftmark.baselines.medusa import METHOD as Medusa
from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.engines.measure.cost_model_timing import REPEATS, time_passes
from draftmark.models.language_model import load_model, save_model
from draftmark.store.speed_records import TimedPass, read_parts, write_parts
from draftmark.types import Placement


def lengths(parts: list[TimedPass]) -> set[tuple[int | None, int]]:
    """Return the block lengths that a draft was asked for, with the tokens that it drafts."""
    return {(p.block_length, p.width) for p in parts if p.who == "draft"}


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
    assert lengths(parts) == {(1, 1), (2, 2), (3, 3), (4, 4)}
    assert not any(part.one_pass for part in parts)
    assert {(p.batch_size, p.context) for p in parts if p.who == "draft"} == {(1, 6)}


def test_a_block_in_one_pass_is_timed_at_every_block_length_up_to_its_own(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    target = load_model(folders["target"], Placement())
    method = Medusa(block_size=2)
    folder = tmp_path / "head"
    folder.mkdir()
    method.head(target, [], 0).model.save_pretrained(folder)
    told: dict[str, Any] = {"batch_sizes": [1], "longest_block": 3, "contexts": (6, 9)}
    parts = time_passes({**folders, "draft": folder}, method, Placement(), **told)
    assert lengths(parts) == {(1, 1), (2, 2), (3, 2)}  # asked for 3, it drafts 2
    assert len([part for part in parts if part.who == "draft"]) == REPEATS * 2 * 3
    assert all(part.one_pass == (part.who == "draft") for part in parts)
    write_parts(tmp_path, parts)
    assert read_parts(tmp_path) == parts
