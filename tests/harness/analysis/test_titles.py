"""Titles of methods and of keys."""

import pytest

from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.titles import key_title, method_title, quantity_title


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("kd", "KD"),
        ("kd, 3 passes", "KD, 3 passes"),
        ("csd (S,S)", "CSD (S,S)"),
        ("kdx", "kdx"),
        ("mine, kd", "mine, kd"),
        ("", ""),
    ],
)
def test_a_label_begins_with_the_title_of_its_method(label: str, title: str) -> None:
    assert method_title(label) == title


@pytest.mark.parametrize(
    ("key", "title"),
    [
        (quantity_key("block_efficiency", 0, 4), "block efficiency, T=0, blocks of 4"),
        (
            quantity_key("marginal_acceptance", 1, 4, 2, "greedy"),
            "marginal acceptance, T=1, blocks of 4, position 2, draft greedy",
        ),
        (
            "speedup[gamma=4,engine=vllm,t=0,batch=8,length=natural]",
            "speedup, blocks of 4, vllm engine, T=0, batch 8, natural length",
        ),
        ("quality_draft[flexible_match]", "quality of draft alone, flexible match"),
        ("quality_with_draft[rougeLsum]", "quality with draft, ROUGE-Lsum"),
        ("peak_bytes[arm=target]", "peak bytes, arm target"),
        ("speedup", "speedup"),
        ("x[{}={t}]", "x, {} {t}"),
    ],
)
def test_a_key_is_written_in_words(key: str, title: str) -> None:
    assert key_title(key) == title


def test_a_quantity_is_written_without_its_terms() -> None:
    assert quantity_title("top1_agreement[t=0]") == "top-1 agreement"
