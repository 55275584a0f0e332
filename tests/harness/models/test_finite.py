"""A NaN or an infinity is in no result: what computes it is refused, with the text it read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_cases import END, TOKENS, save_family, word_tokenizer
from family_stages import (
    STARTS,
    decoded,
    family_in,
    prompts,
    read,
    tables,
    trained,
    written,
)

from draftmark.errors import UserError
from draftmark.models.finite import NotFinite, check_logits, check_states
from draftmark.models.language_model import load_model, save_model
from draftmark.models.likelihoods import log_likelihoods
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.store.acceptance_tables import write_tables
from draftmark.store.store import Store
from draftmark.types import GREEDY, AcceptanceTable, Sampler, Text

NAN, INF = float("nan"), float("inf")
QUIET = Progress(quiet=True)
SPOILT = 7  # the token whose embedding is not finite
ODD = Text("odd", (1, SPOILT, 3), (4, END))
EVEN = Text("even", (1, 2, 3), (4, END))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that computes NaN on a text with one token."""
    folder = tmp_path_factory.mktemp("broken")
    loaded = load_model(save_family("llama", folder / "whole"))
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[SPOILT] = NAN
    save_model(loaded, word_tokenizer(TOKENS), folder / "broken")
    return folder / "broken"


def test_logits_may_be_minus_infinity_but_not_alone() -> None:
    check_logits(torch.tensor([[0.0, -INF], [-INF, 1.0]]), "row")
    for row in ([0.0, NAN], [0.0, INF], [-INF, -INF], [NAN, -INF]):
        with pytest.raises(NotFinite, match=r"row: the draft's logits .* at 1 of 2 .*first 1\)"):
            check_logits(torch.tensor([[0.0, 1.0], row]), "row", "the draft's")


def test_states_are_finite_at_every_layer() -> None:
    states_TLD = torch.zeros(5, 2, 3)
    check_states(states_TLD, "row")
    states_TLD[3, 1, 2] = INF
    with pytest.raises(NotFinite, match=r"hidden states are not finite at 1 of 5 .*first 3\)"):
        check_states(states_TLD, "row")


def test_states_and_likelihoods_of_a_spoilt_text_are_not_written(
    broken: Path, tmp_path: Path
) -> None:
    loaded = load_model(broken)
    read(loaded, [EVEN], tmp_path / "even")
    assert [text for text, _ in log_likelihoods(loaded, [EVEN])] == [EVEN]
    for attempt in (
        lambda: read(loaded, [EVEN, ODD], tmp_path / "odd"),
        lambda: list(log_likelihoods(loaded, [EVEN, ODD])),
    ):
        with pytest.raises(NotFinite, match="odd: "):
            attempt()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_broken_model_writes_no_text(broken: Path, temperature: float) -> None:
    loaded = load_model(broken)
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight[3] = INF
    with pytest.raises(NotFinite, match=r"row \d"):
        written(loaded, 4, 2, temperature)


@pytest.mark.parametrize("sampler", [GREEDY, Sampler(1.0)], ids=["greedy", "sampled"])
def test_a_broken_draft_has_no_acceptance(broken: Path, tmp_path: Path, sampler: Sampler) -> None:
    family = family_in(save_family("llama", tmp_path / "target"))
    draft = load_model(broken)
    with torch.no_grad():
        draft.model.get_input_embeddings().weight.nan_to_num_()
        draft.model.get_output_embeddings().weight[5] = NAN
    with pytest.raises(NotFinite, match=r"row \d: the draft's logits are not finite"):
        tables(family, draft, sampler, tmp_path)
    save_model(draft, word_tokenizer(TOKENS), tmp_path / "draft")
    with pytest.raises(NotFinite, match="the draft's logits"):
        decoded(family, tmp_path / "draft", sampler=sampler)


def test_a_broken_start_of_a_training_is_refused_before_it(broken: Path, tmp_path: Path) -> None:
    family = family_in(save_family("llama", tmp_path / "target"))
    assert any(SPOILT in prompt.token_ids for prompt in prompts(8, 1))
    with pytest.raises(UserError, match="not finite"):
        trained(family, STARTS["given"], tmp_path, given=broken)


@pytest.mark.parametrize("spoilt", ["accept_SD", "overlap_S", "greedy_match_S"])
def test_a_table_that_is_not_finite_is_not_written(tmp_path: Path, spoilt: str) -> None:
    """The drafter of a plug-in may check nothing."""
    arrays: dict[str, Any] = {
        "accept_SD": np.ones((2, 4)),
        "overlap_S": np.ones(2),
        "greedy_match_S": np.ones(2),
    }
    write_tables(tmp_path / "t", [AcceptanceTable("row", drafted_S=np.array([2, 1]), **arrays)])
    arrays[spoilt].flat[-1] = NAN
    with pytest.raises(UserError, match=r"row: the acceptance table .* not finite"):
        write_tables(tmp_path / "t", [AcceptanceTable("row", drafted_S=np.array([2, 1]), **arrays)])


@pytest.mark.slow
def test_a_broken_draft_is_a_failed_row_and_the_other_method_stands(
    tiny_directory: Path, tmp_path: Path
) -> None:
    loaded = load_model(tiny_directory)
    with torch.no_grad():
        head = loaded.model.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        loaded.model.get_input_embeddings().weight[300] = NAN
    loaded.model.config.tie_word_embeddings = False
    shutil.copytree(tiny_directory, tmp_path / "draft")
    loaded.model.save_pretrained(tmp_path / "draft")
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        f"""
        title = "a broken draft"
        tasks = ["gsm8k"]
        threads = 1
        speed = false
        data = {{ sources = ["samples"], test_rows = 6 }}
        evaluation = {{ max_new_tokens = 24 }}
        pairs = [{{ name = "p", target = "tiny-target", draft = {{ model = "{tmp_path}/draft" }} }}]
        methods = [{{ name = "untrained" }}, {{ name = "prompt_lookup" }}]
        """
    )
    plan = plan_experiment(load_recipe(str(recipe)), QUIET)
    results = run_experiment(plan, "small", Store(tmp_path / "store"), QUIET)

    untrained, lookup = results.results
    assert "gsm8k/test/" in str(untrained.failure)
    assert "not finite" in str(untrained.failure)
    assert lookup.failure is None
    assert lookup.numbers["acceptance_rate[t=0,gamma=4]"].n == 6
    assert "NaN" not in json.dumps([number.value for number in lookup.numbers.values()])
