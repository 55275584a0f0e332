"""The context length of every family's config, and the refusal of texts that exceed it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from family_cases import CONTEXT, TOKENS, save_family, word_tokenizer
from family_stages import AT_RANDOM, decoded, family_in, read, tables, trained, written

from draftmark.config.model_sections import DraftInit
from draftmark.engines._vllm.options import max_positions
from draftmark.engines.transformers import ENGINE as TRANSFORMERS
from draftmark.errors import UserError
from draftmark.models.context_length import UNLIMITED, context_length
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import check_fits
from draftmark.models.language_model import LanguageModel, load_model, save_model
from draftmark.types import GREEDY, Prompt

ORIGINAL = "original_max_position_embeddings"


def _rotary(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_type": kind, "rope_theta": 1e4, **values}


YARN = _rotary("yarn", factor=4, **{ORIGINAL: 64})


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 64}, 64),
        ({"n_ctx": 64}, 64),
        ({"seq_length": 64}, 64),
        ({"max_seq_len": 64}, 64),
        ({"text_config": {"max_position_embeddings": 64}}, 64),
        ({}, UNLIMITED),
        ({"max_position_embeddings": None}, UNLIMITED),
        ({"max_position_embeddings": 64, "rope_scaling": None}, 64),
        ({"max_position_embeddings": 64, "rope_parameters": _rotary("default")}, 64),
        # The length is stretched already, or the config has the length before.
        ({"max_position_embeddings": 256, "rope_scaling": _rotary("llama3", factor=8)}, 256),
        ({"max_position_embeddings": 64, "rope_scaling": _rotary("linear", factor=4)}, 256),
        ({"max_position_embeddings": 64, "rope_scaling": {"type": "linear", "factor": 4}}, 256),
        ({"max_position_embeddings": 64, "rope_scaling": YARN}, 256),
        ({"max_position_embeddings": 256, "rope_scaling": YARN}, 256),
        # The angles depend on the length of the text.
        ({"max_position_embeddings": 64, "rope_scaling": _rotary("dynamic", factor=4)}, 64),
        ({"max_position_embeddings": 256, "rope_scaling": _rotary("longrope"), ORIGINAL: 64}, 64),
        (
            {"max_position_embeddings": 256, "rope_scaling": _rotary("longrope", **{ORIGINAL: 64})},
            64,
        ),
        # One setting for each kind of layer, as Gemma 3 has them: the shortest counts.
        (
            {
                "max_position_embeddings": 64,
                "rope_parameters": {
                    "full_attention": _rotary("linear", factor=8),
                    "sliding_attention": _rotary("default"),
                },
            },
            64,
        ),
    ],
)  # fmt: skip
def test_a_config_says_how_many_tokens_fit(config: dict[str, Any], length: int) -> None:
    assert context_length(config) == length


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (transformers.BloomConfig(), UNLIMITED),
        (transformers.MptConfig(max_seq_len=128), 128),
        (transformers.GPT2Config(n_positions=128), 128),
        (transformers.MambaConfig(), UNLIMITED),
        (transformers.FalconConfig(max_position_embeddings=128), 128),
    ],
)
def test_a_familys_own_config_is_read(config: Any, length: int) -> None:
    assert context_length(config.to_dict()) == length


def test_an_alibi_model_runs_and_has_no_limit(tmp_path: Path) -> None:
    config = transformers.BloomConfig(vocab_size=TOKENS, hidden_size=32, n_layer=1, n_head=4)
    loaded = LanguageModel(transformers.AutoModelForCausalLM.from_config(config).eval(), TOKENS)
    check_fits(loaded, [Prompt("row", (1,) * 5000)], 100)
    with torch.no_grad():
        assert loaded.hidden(torch.ones(1, 300, dtype=torch.long)).shape[1] == 300


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A family, and the folder of a draft whose context is shorter than its texts."""
    folder = tmp_path_factory.mktemp("short")
    target = family_in(save_family("llama", folder / "target"))
    init = DraftInit(random={**AT_RANDOM, "max_position_embeddings": 12})
    save_model(make_draft(init, target.target, seed=0), word_tokenizer(TOKENS), folder / "draft")
    return target, folder / "draft"


def test_a_draft_that_is_shorter_than_the_texts_is_refused_wherever_it_reads_them(
    short: tuple[Any, Path], tmp_path: Path
) -> None:
    target, folder = short
    sentence = r"context of 12|draft's context of 12"
    with pytest.raises(UserError, match=f"row 0: .*tokens do not fit the {sentence}"):
        tables(target, load_model(folder), GREEDY, tmp_path)
    for engine in ({}, {"engine": TRANSFORMERS}):
        with pytest.raises(UserError, match=sentence):
            decoded(target, folder, **engine)
    with pytest.raises(UserError, match=sentence):
        check_fits(load_model(folder), [Prompt("row", (1, 2))], 16)
    with pytest.raises(UserError, match=sentence):
        trained(target, DraftInit(model="given"), tmp_path, given=folder)


def test_a_text_that_is_longer_than_the_targets_context_is_not_read(tmp_path: Path) -> None:
    family = family_in(save_family("llama", tmp_path / "target"))
    (text, *_) = family.greedy
    longer = type(text)("long", text.prompt_ids * CONTEXT, text.response_ids)

    with pytest.raises(UserError, match=f"long: .*context of {CONTEXT}"):
        read(family.target, [longer], tmp_path / "read")


def test_texts_within_a_stretched_context_are_written_and_scored(tmp_path: Path) -> None:
    """One pass over a text beyond the original length gives what the loop gave."""
    for kind in ("linear", "yarn"):
        parameters = _rotary(kind, factor=4.0, **{ORIGINAL: 16})
        (tmp_path / kind).mkdir()
        family = family_in(
            save_family(
                "llama", tmp_path / kind / "target",
                max_position_embeddings=16, rope_parameters=parameters,
            )
        )  # fmt: skip
        assert family.target.max_positions == max_positions(family.directory) == 64
        assert max(len(text.prompt_ids) + len(text.response_ids) for text in family.greedy) > 16
        for table in tables(family, family.target, GREEDY, tmp_path):
            assert np.all(table.accept_SD[:, 0] == 1)


def test_a_context_whose_angles_depend_on_the_text_ends_at_the_original_length(
    tmp_path: Path,
) -> None:
    parameters = _rotary("dynamic", factor=4.0)
    folder = save_family(
        "llama", tmp_path / "target", max_position_embeddings=16, rope_parameters=parameters
    )
    with pytest.raises(UserError, match="context of 16"):
        written(load_model(folder), 4, 2, 0.0)
