"""The method shown in docs/adding-a-method.md works as printed there."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from method_cases import Make, assert_same_gradient, built, gradient, trained
from places import ROOT

from draftmark import baselines, registry
from draftmark.registry import Group

PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
SOURCE = re.search(r'\n("""KL of the target.*?\nMETHOD = \w+\n)', PAGE, re.DOTALL)
ENTRY_POINT = re.search(r"\n(\[project\.entry-points.*\n(?:.+\n)+)```", PAGE)


@pytest.fixture(autouse=True)
def _saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Save the method as baselines/top_k.py."""
    assert SOURCE
    (tmp_path / "top_k.py").write_text(SOURCE[1], encoding="utf-8")
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    registry._modules.cache_clear()
    yield
    sys.modules.pop("draftmark.baselines.top_k", None)
    registry._modules.cache_clear()


def test_it_is_listed_and_trains_a_better_draft(context: Make) -> None:
    assert "top_k" in registry.registered_names("baselines")

    history = built("top_k", k=50).train(context()).history

    assert history[-1]["validation_acceptance"] > history[0]["validation_acceptance"]


def test_with_all_tokens_it_is_plain_distillation(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("top_k", k=context().draft.vocab_size), monkeypatch)
    assert_same_gradient(mine, gradient(context, built("kd"), monkeypatch), rtol=1e-4)


def test_its_loss_has_one_value_per_token_in_bfloat16(context: Make) -> None:
    assert trained(context, built("top_k"), dtype="bfloat16").ledger.steps > 0


def test_the_entry_point_on_the_page_is_one_the_registry_reads() -> None:
    assert ENTRY_POINT
    project = tomllib.loads(ENTRY_POINT[1])["project"]

    (group,) = project["entry-points"]
    assert group.removeprefix("draftmark.") in get_args(Group)
    assert project["entry-points"][group]["top_k"].endswith(":METHOD")
