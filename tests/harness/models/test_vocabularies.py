"""One vocabulary: padding rows of heads change nothing, another tokenizer is refused."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from family_cases import ROWS, TOKENS, save_family, word_tokenizer
from family_stages import (
    AT_RANDOM,
    SETTINGS,
    STARTS,
    Family,
    acceptances,
    decoded,
    family_in,
    tables,
    trained,
)

from draftmark.config.model_sections import DraftInit
from draftmark.engines.transformers import ENGINE as TRANSFORMERS
from draftmark.errors import UserError
from draftmark.models.draft_inits import make_draft
from draftmark.models.language_model import load_model, save_model
from draftmark.types import GREEDY, Sampler

PADDED = ["gpt2", "gpt_neox", "phi", "qwen2", "gemma2"]  # tied and not, with a bias, with a cap


class Pair(NamedTuple):
    target: Family
    draft: Path


def padded(directory: Path, rows: int, to: Path) -> Path:
    """Save the model of a folder with more rows, which would win every softmax they were let in."""
    loaded = load_model(directory)
    loaded.model.resize_token_embeddings(rows, mean_resizing=False)
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # of two opposite rows one is always ahead
        head = loaded.model.get_output_embeddings().weight
        head[TOKENS:] = 0
        head[TOKENS], head[TOKENS + 1] = 1e4 * direction, -1e4 * direction
    save_model(loaded, word_tokenizer(TOKENS), to)
    return to


@pytest.fixture(scope="module", params=PADDED)
def bare_and_padded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Pair, Pair]:
    """A pair without padding rows, and the same with them, of target and draft in unlike number."""
    bare, more = (tmp_path_factory.mktemp(name) for name in ("bare", "padded"))
    target = family_in(save_family(request.param, bare / "target", vocab_size=TOKENS))
    draft = make_draft(STARTS["copied"], target.target, seed=0)
    save_model(draft, word_tokenizer(TOKENS), bare / "draft")
    padded_target = family_in(padded(target.directory, ROWS + 16, more / "target"))
    padded_draft = padded(bare / "draft", ROWS, more / "draft")
    return Pair(target, bare / "draft"), Pair(padded_target, padded_draft)


def test_padding_rows_change_nothing_that_is_written_scored_or_decoded(
    bare_and_padded: tuple[Pair, Pair], tmp_path: Path
) -> None:
    bare, more = bare_and_padded
    assert more.target.greedy == bare.target.greedy
    for sampler in (GREEDY, Sampler(1.0)):
        expected, scored = (
            tables(of.target, load_model(of.draft), sampler, tmp_path) for of in (bare, more)
        )
        for table, other in zip(scored, expected, strict=True):
            np.testing.assert_allclose(table.accept_SD, other.accept_SD, atol=1e-4)
            np.testing.assert_allclose(table.overlap_S, other.overlap_S, atol=1e-4)
    alone, found = (decoded(of.target, of.draft) for of in (bare, more))
    assert [item.token_ids for item in found] == [item.token_ids for item in alone]
    assert [item.rounds for item in found] == [item.rounds for item in alone]


def test_the_transformers_engine_times_heads_of_unlike_padding(
    bare_and_padded: tuple[Pair, Pair],
) -> None:
    bare, more = bare_and_padded
    swapped = [
        Pair(replace(of.target, directory=of.draft), of.target.directory) for of in (bare, more)
    ]
    for one, other in ((bare, more), swapped):
        expected, found = (decoded(of.target, of.draft, TRANSFORMERS) for of in (one, other))
        assert [item.token_ids for item in found] == [item.token_ids for item in expected]
        assert [item.rounds for item in found] == [item.rounds for item in expected]
        sampled = decoded(other.target, other.draft, TRANSFORMERS, Sampler(1.0))
        assert max(token for item in sampled for token in item.token_ids) < TOKENS


@pytest.mark.parametrize("start", ["given", "fitted"])
def test_padding_rows_change_nothing_that_a_draft_learns(
    bare_and_padded: tuple[Pair, Pair], tmp_path: Path, start: str
) -> None:
    expected, found = (
        acceptances(trained(of.target, STARTS[start], tmp_path, given=of.draft))
        for of in bare_and_padded
    )
    assert found == pytest.approx(expected, abs=2e-3)


def test_a_fitted_random_draft_may_have_its_own_number_of_padding_rows(tmp_path: Path) -> None:
    phi = family_in(save_family("phi", tmp_path / "target"))
    random = {**AT_RANDOM, "vocab_size": ROWS + 8}
    once = SETTINGS.model_copy(update={"passes": 1})
    plain, fitted = (
        acceptances(trained(phi, DraftInit(random=random, head=head), tmp_path, training=once))[0]
        for head in ("copied", "fitted")
    )
    assert fitted > plain + 0.2


def test_a_given_draft_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    target = family_in(save_family("gpt_neox", tmp_path / "target"))
    given = save_family("llama", tmp_path / "given", letter="v")
    with pytest.raises(UserError, match=r"differ in 89 ids \(1: 'w1' and 'v1'"):
        trained(target, STARTS["given"], tmp_path, given=given)
