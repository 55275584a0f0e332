"""Every method that trains improves its draft, counts its work, and saves a draft that scores."""

import math
from pathlib import Path
from typing import Any

import pytest

from draftmark import registry
from draftmark.contract.fixtures import MakeContext, build_named_method, context_for_method
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits
from draftmark.models.language_model import LanguageModel, save_model
from draftmark.training.schedule import total_steps
from draftmark.types import Placement, Sampler, Samplers

TRAINED = [
    name
    for name in registry.registered_names("baselines")
    if registry.find_registered("baselines", name).trains
]


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_trains_a_draft_that_is_better_loads_and_scores(
    name: str,
    context: MakeContext,
    target: LanguageModel,
    tokenizer: Any,
    few: dict[str, StoredHiddenStates],
    tmp_path: Path,
) -> None:
    method = build_named_method(name)
    training = context_for_method(context(), method, few)
    made = method.train(training)

    history, ledger = made.history, made.ledger
    values = [point["validation_acceptance"] for point in history]
    assert all(math.isfinite(point["loss"]) for point in history[1:])
    assert history[-1]["step"] == total_steps(len(training.texts), training.settings)
    assert made.model is not None
    assert training.criterion is not None
    assert training.criterion.measure(made.model) == pytest.approx(max(values))
    assert max(values) > values[0]

    passes = ledger.rows / len(few["train"].texts)
    tokens = sum(len(text.response_ids) for text in few["train"].texts)
    assert ledger.rows == ledger.steps * training.settings.rows_per_batch
    assert passes >= training.settings.passes
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
