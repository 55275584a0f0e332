"""The contract of every method that trains. The registry finds methods, so new files are tested."""

import math
from pathlib import Path
from typing import Any

import pytest
from method_cases import Make, built, prepared

from draftmark import registry
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits
from draftmark.models.language_model import LanguageModel, save_model
from draftmark.training.schedule import total_steps
from draftmark.types import Placement, Sampler, Samplers

TRAINED = [name for name in registry.names("baselines") if registry.find("baselines", name).trains]


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_trains_a_better_draft_that_loads_and_scores(
    name: str,
    context: Make,
    target: LanguageModel,
    tokenizer: Any,
    few: dict[str, StoredHiddenStates],
    tmp_path: Path,
) -> None:
    method = built(name)
    given = prepared(context(), method, few)
    made = method.train(given)

    history, ledger = made.history, made.ledger
    values = [point["validation_acceptance"] for point in history]
    assert all(math.isfinite(point["loss"]) for point in history[1:])
    assert history[-1]["step"] == total_steps(len(given.texts), given.settings)
    assert made.model is not None
    assert given.criterion is not None
    assert given.criterion.measure(made.model) == pytest.approx(max(values))
    assert max(values) > values[0]

    passes = ledger.rows / len(few["train"].texts)
    tokens = sum(len(text.response_ids) for text in few["train"].texts)
    assert ledger.rows == ledger.steps * given.settings.rows_per_batch
    assert passes >= given.settings.passes
    assert ledger.supervised_tokens == passes * tokens
    assert ledger.generated_tokens == 0
    assert ledger.flops > 0

    save_model(made.model, tokenizer, tmp_path)
    known, sampler = few["validation"], Sampler(1.0)
    drafter = method.drafter(tmp_path, Placement())
    tables = list(
        drafter.score(known.texts, TargetLogits(target, known), Samplers(sampler, sampler))
    )
    overlaps = [value for table in tables for value in table.overlap_S]
    assert sum(overlaps) / len(overlaps) == pytest.approx(max(values), abs=1e-4)
