"""Two processes that keep parts of a draft's layers give the draft of one, up to rounding."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from draftmark.config.model_sections import DraftInit, FineTuning, Pair, Training
from draftmark.config.recipe import MethodEntry
from draftmark.progress import Progress
from draftmark.speculation.methods import build_method
from draftmark.store.graph import Job
from draftmark.training import loop
from draftmark.training.launcher import run_shared
from draftmark.training.process_group import ALONE, ProcessGroup

SETTINGS: dict[str, Any] = {
    "passes": 2,  # of 4 rows, 3 and then 1 a step: a process has none of the last one
    "rows_per_batch": 3,
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "clip_norm": 0.05,  # it binds
    "validations": 1,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "kd in parts": ("kd", {"rows_at_once": 1, "gradient_checkpointing": True}),
    "adaspec": ("adaspec", {"rows_at_once": 1}),  # with a pass over all tokens before the loss
    "lora": ("kd", {"lora": {"rank": 4}}),
}


def _context(scratch: Path, team: ProcessGroup, **changes: Any) -> Any:
    from draftmark.engines.measure.lossless import read_target_logits
    from draftmark.models.draft_inits import make_draft
    from draftmark.models.files import own_models
    from draftmark.models.language_model import load_model
    from draftmark.training.batches import FixedTexts, TrainingTexts
    from draftmark.training.context import TrainingContext
    from draftmark.training.validation import acceptance_criterion
    from draftmark.types import Text

    target = load_model(own_models()["tiny-target"])
    texts = [
        Text(str(n), tuple(range(9 * n + 5, 9 * n + 9)), tuple(range(7 * n + 30, 8 * n + 36)))
        for n in range(4)
    ]
    known = read_target_logits(target, texts).final_states
    return TrainingContext(
        draft=make_draft(DraftInit(pruned=(0, 3, 7)), target, seed=0),
        target=target,
        settings=Training(**{**SETTINGS, **changes, "processes": team.count}),
        dtype="float32",
        seed=0,
        scratch=scratch,
        texts=TrainingTexts({"dataset": FixedTexts(texts, known)}, {"dataset": 1.0}),
        criterion=acceptance_criterion(target, known),
        team=team,
    )


def _train_cases(job: Job, team: ProcessGroup) -> None:
    """Train a draft in each case, and the first one again after it was interrupted."""
    _, first = next(iter(CASES.values()))
    sharded = {"sharded": True} if team.count > 1 else {}
    for number, (method, changes) in enumerate(CASES.values()):
        given = _context(job.scratch / str(number), team, **changes, **sharded)
        _save(_train(given, method), job.out / f"{number}.safetensors", team)
    if team.count > 1:
        scratch = job.scratch / "interrupted"
        loop.CHECKPOINT_INTERVAL_S = -1.0
        with pytest.raises(KeyboardInterrupt):
            _train(_context(scratch, team, **first, **sharded), "kd", interrupted=True)
        assert list(scratch.glob("step-*"))
        resumed = _train(_context(scratch, team, **first, **sharded), "kd")
        _save(resumed, job.out / "resumed.safetensors", team)


def _train(given: Any, method: str, *, interrupted: bool = False) -> Any:
    made = build_method(MethodEntry.model_validate({"name": method}))
    if not interrupted:
        return made.train(given).model
    steps = iter(range(3))

    def advance(units: int = 1, text: str = "") -> None:
        if next(steps) == 2:  # 0: before the first step
            raise KeyboardInterrupt

    given.step.advance = advance
    return made.train(given).model


def _save(draft: Any, file: Path, team: ProcessGroup) -> None:
    assert not any(hasattr(each, "full_tensor") for each in draft.model.parameters())
    if team.is_first:
        state = draft.model.state_dict()
        save_file({name: value.clone() for name, value in state.items()}, file)
    team.wait()


def _job(folder: Path) -> Job:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    return Job({}, folder / "out", folder / "scratch", Progress(quiet=True))


@pytest.mark.slow
def test_two_processes_give_the_draft_of_one(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    one, two = _job(tmp_path / "one"), _job(tmp_path / "two")
    _train_cases(one, ALONE)
    run_shared(_train_cases, two, 2)

    for number, name in enumerate(CASES):
        expected = load_file(one.out / f"{number}.safetensors")
        found = load_file(two.out / f"{number}.safetensors")
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(
                found[key], value, rtol=1e-3, atol=1e-4, msg=_at(f"{name}, {key}")
            )
    first, resumed = (load_file(two.out / f"{name}.safetensors") for name in ("0", "resumed"))
    assert all(torch.equal(value, first[name]) for name, value in resumed.items())


def _at(place: str) -> Callable[[str], str]:
    return lambda text: f"{place}: {text}"


def test_settings_that_cannot_be_sharded_are_refused() -> None:
    assert Training(processes=2, sharded=True).key_settings() == Training().key_settings()
    with pytest.raises(ValidationError, match="set processes to 2 up"):
        Training(sharded=True)
    for text in ({"text": "draft"}, {"text": "mixture", "mixture": {"draft": 1.0}}):
        with pytest.raises(ValidationError, match="text of the draft needs it whole"):
            Training(processes=2, sharded=True, **text)


def test_a_spread_target_is_fine_tuned_in_parts_or_not_at_all() -> None:
    pair: dict[str, Any] = {"name": "p", "target": "t", "draft": DraftInit(pruned=(0,))}
    pair["placement"] = "auto"
    with pytest.raises(ValidationError, match=r"set fine_tune\.sharded = true"):
        Pair(**pair, fine_tune=FineTuning())
    assert Pair(**pair, fine_tune=FineTuning(processes=2, sharded=True)).memory == ()
