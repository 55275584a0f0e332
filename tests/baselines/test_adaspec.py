"""AdaSPEC: the tokens it keeps, by hand and by property, and the knobs it refuses."""

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from draftmark.baselines._selection import num_kept, target_entropy, target_flatness
from draftmark.baselines.adaspec import METHOD as AdaSPEC
from draftmark.config.recipe import MethodEntry
from draftmark.errors import UserError
from draftmark.speculation.methods import build_method
from draftmark.training.batches import Batch
from draftmark.training.divergences import DIVERGENCES

KEEPS = [0.1, 0.25, 0.4, 0.57, 0.9, 1.0]
GAPS = [0.3, -1.0, 2.0, 0.3, 0.0, 0.3, 5.0, -2.0, 0.1, -0.5]


def batch_of(rows: list[int], step: int = 0) -> Batch:
    """Return a batch whose token i belongs to row rows[i]."""
    zeros_N = torch.zeros(len(rows), dtype=torch.long)
    names = tuple(map(str, range(max(rows) + 1)))
    return Batch(zeros_N, zeros_N, torch.tensor(rows), names, step, 0.0)


def kept(method: Any, gaps: list[float], rows: list[int] | None = None, step: int = 0) -> set[int]:
    """Return the indices of the tokens that a method keeps."""
    batch = batch_of(rows or [0] * len(gaps), step)
    weights_N = method.weigh(torch.tensor(gaps), batch, 0)
    assert set(weights_N.tolist()) <= {0.0, 1.0}
    return set(weights_N.nonzero().squeeze(1).tolist())


def test_the_largest_gaps_are_kept_and_ties_by_index() -> None:
    assert kept(AdaSPEC(keep=0.4), GAPS) == {6, 2, 0, 3}


def test_reversed_keeps_the_smallest_gaps() -> None:
    assert kept(AdaSPEC(keep=0.4, selection="reversed"), GAPS) == {7, 1, 9, 4}


def test_each_micro_batch_keeps_its_own_share() -> None:
    rows = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert kept(AdaSPEC(keep=0.4, micro_batch=1), GAPS, rows) == {2, 6, 3, 8}
    assert kept(AdaSPEC(keep=0.4, micro_batch=2), GAPS, rows) == {6, 2, 0, 8}
    for all_of_them in (3, 99, None):
        method = AdaSPEC(keep=0.4, micro_batch=all_of_them)
        assert kept(method, GAPS, rows) == kept(AdaSPEC(keep=0.4), GAPS)


@given(
    gaps=st.lists(st.sampled_from([-1.5, -1.0, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=40),
    keep=st.sampled_from(KEEPS),
)
def test_no_dropped_token_has_a_larger_gap_and_ties_go_by_index(
    gaps: list[float], keep: float
) -> None:
    found = kept(AdaSPEC(keep=keep), gaps)
    ranked = sorted(range(len(gaps)), key=lambda index: (-gaps[index], index))
    assert found == set(ranked[: len(found)])
    assert len(found) == num_kept(len(gaps), keep)


@given(
    gaps=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=40, unique=True),
    keep=st.sampled_from([0.25, 0.5, 0.75, 1.0]),  # whose quantiles are exact
)
def test_without_ties_it_is_the_published_quantile(gaps: list[float], keep: float) -> None:
    at_least = torch.tensor(gaps, dtype=torch.float64).quantile(1 - keep)
    assert kept(AdaSPEC(keep=keep), gaps) == {i for i, gap in enumerate(gaps) if gap >= at_least}


@given(st.integers(1, 5000), st.integers(1, 100))
def test_the_share_is_exact_to_one_token(num_tokens: int, hundredths: int) -> None:
    count = num_kept(num_tokens, hundredths / 100)
    assert 1 <= count <= num_tokens
    assert abs(count - Fraction(hundredths, 100) * num_tokens) <= 1
    assert hundredths < 100 or count == num_tokens


def test_a_share_is_read_as_a_decimal() -> None:
    assert math.floor(0.57 * 100) == 56
    assert num_kept(101, 0.57) == 58


def test_random_keeps_the_same_share_drawn_by_seed_and_step() -> None:
    method = AdaSPEC(keep=0.4, selection="random")
    draws = [kept(method, GAPS, step=step) for step in range(400)]
    assert {len(draw) for draw in draws} == {4}
    assert draws == [kept(method, GAPS, step=step) for step in range(400)]
    assert draws[3] == kept(method, [-gap for gap in GAPS], step=3)
    counts = Counter(index for draw in draws for index in draw)
    assert all(110 < counts[index] < 210 for index in range(len(GAPS)))  # 160, sd 10


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=12))
def test_entropy_and_flatness_are_those_of_the_targets_distribution(logits: list[float]) -> None:
    row_NV = torch.tensor([logits], dtype=torch.float64)
    p_V = row_NV[0].softmax(-1)
    by_scipy = scipy.stats.entropy(p_V.numpy())
    assert float(target_entropy(row_NV)) == pytest.approx(by_scipy, abs=1e-9)
    uniform_V = torch.full_like(p_V, 1 / len(logits))
    cosine = torch.nn.functional.cosine_similarity(p_V, uniform_V, dim=-1)  # the authors' code
    assert float(target_flatness(row_NV)) == pytest.approx(float(cosine), abs=1e-9)


def test_a_token_that_the_target_rules_out_adds_nothing_to_entropy_or_flatness() -> None:
    certain = torch.tensor([[3.0, -torch.inf, -torch.inf, -torch.inf]])
    assert target_entropy(certain).tolist() == [0.0]
    assert target_flatness(certain).tolist() == [0.5]  # 1 / sqrt 4
    even = torch.zeros(1, 4)
    assert target_entropy(even).tolist() == pytest.approx([math.log(4)])
    assert target_flatness(even).tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("selection", ["entropy", "flatness"])
def test_a_selection_by_the_target_keeps_the_largest_values(selection: Any) -> None:
    assert kept(AdaSPEC(keep=0.4, selection=selection), GAPS) == {6, 2, 0, 3}


def test_every_divergence_is_a_choice() -> None:
    for name in DIVERGENCES:
        assert build_method(MethodEntry.model_validate({"name": "adaspec", "divergence": name}))


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("keep", 0, "keep"),
        ("keep", 1.1, "keep"),
        ("divergence", "kl", "forward_kl"),
        ("selection", "top", "gap"),
        ("micro_batch", 0, "micro_batch"),
        ("reference_passes", 0, "reference_passes"),
        ("k", 0.4, "keep"),
        ("reference", "past", "reference_refresh"),
        ("reference_refresh", 0, "reference_refresh"),
    ],
)
def test_a_bad_knob_is_refused(knob: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_method(MethodEntry.model_validate({"name": "adaspec", knob: value}))


@pytest.mark.parametrize(
    "knobs",
    [
        {"reference": "past", "reference_refresh": 9, "reference_passes": 1.0},
        {"selection": "entropy", "reference_refresh": 9},
        {"selection": "flatness", "reference_as_init": True},
        {"selection": "entropy", "reference": "past", "reference_refresh": 9},
    ],
)
def test_knobs_of_a_reference_that_is_not_trained_are_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="leave out its"):
        build_method(MethodEntry.model_validate({"name": "adaspec", **knobs}))
