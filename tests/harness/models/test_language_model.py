"""Draft inits, the one-tokenizer rule, and the parts of a model put together again."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models.draft_inits import make_draft
from draftmark.models.files import end_tokens, model_digest, resolve_model
from draftmark.models.language_model import (
    LanguageModel,
    check_same_tokenizer,
    drop_body,
    load_model,
    load_tokenizer,
    save_model,
)
from draftmark.models.weights import check_folder
from draftmark.progress import Progress


def test_body_and_head_give_the_models_own_logits(target: LanguageModel) -> None:
    ids = torch.arange(40)[None]
    with torch.no_grad():
        own = target.model(input_ids=ids).logits[..., : target.vocab_size]
        apart = target.logits(target.hidden(ids))
    torch.testing.assert_close(apart, own)


def test_all_layers_kept_is_the_target_itself(target: LanguageModel) -> None:
    whole = make_draft(DraftInit(pruned=tuple(range(8))), target, seed=0)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert torch.equal(whole.hidden(ids), target.hidden(ids))


def test_a_pruned_draft_has_the_named_layers_in_their_order(target: LanguageModel) -> None:
    draft = make_draft(DraftInit(pruned=(7, 2)), target, seed=0)
    layers, original = draft.model.model.layers, target.model.model.layers
    assert len(layers) == draft.model.config.num_hidden_layers == 2
    for mine, index in zip(layers, (7, 2), strict=True):
        assert torch.equal(mine.mlp.up_proj.weight, original[index].mlp.up_proj.weight)


def test_a_pruned_draft_does_not_share_memory_with_the_target(target: LanguageModel) -> None:
    before = target.model.model.layers[0].mlp.up_proj.weight.clone()
    draft = make_draft(DraftInit(pruned=(0,)), target, seed=0)
    with torch.no_grad():
        draft.model.model.layers[0].mlp.up_proj.weight.zero_()
    assert torch.equal(target.model.model.layers[0].mlp.up_proj.weight, before)


def test_a_shared_head_is_frozen_and_a_copied_one_is_not(target: LanguageModel) -> None:
    for head, trained in (("shared", False), ("copied", True)):
        init = DraftInit.model_validate({"pruned": (0,), "head": head})
        draft = make_draft(init, target, seed=0)
        assert draft.model.get_output_embeddings().weight.requires_grad is trained
        assert draft.model.model.layers[0].mlp.up_proj.weight.requires_grad


def test_a_layer_that_the_target_has_not_is_named(target: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"layers 0\.\.7, not 9"):
        make_draft(DraftInit(pruned=(0, 9)), target, seed=0)


def test_a_random_draft_is_decided_by_its_seed(target: LanguageModel) -> None:
    init = DraftInit(random={"num_hidden_layers": 1, "hidden_size": 64})
    first, again, other = (make_draft(init, target, seed=seed) for seed in (1, 1, 2))
    weight = [model.model.get_input_embeddings().weight for model in (first, again, other)]
    assert weight[0].shape == (target.model.config.vocab_size, 64)
    assert torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[0], weight[2])


def test_an_unknown_config_value_of_a_random_draft_is_named(target: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"num_layerz.*num_hidden_layers"):
        make_draft(DraftInit(random={"num_layerz": 1}), target, seed=0)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("hidden_size", 30, "30.* is not a multiple of the number of attention heads"),
        ("num_key_value_heads", 3, r"\(.+\)"),  # known only when the model is run
        ("intermediate_size", -3, "negative dimension"),
    ],
)
def test_config_values_of_a_random_draft_that_do_not_fit_the_others_are_named(
    target: LanguageModel, key: str, value: int, why: str
) -> None:
    with pytest.raises(UserError, match=f"'{key}': {value}.* contradict .*{why}"):
        make_draft(DraftInit(random={key: value}), target, seed=0)


def test_a_saved_draft_loads_as_it_was(
    target: LanguageModel, tokenizer: Any, tmp_path: Path
) -> None:
    draft = make_draft(DraftInit(pruned=(0, 7)), target, seed=0)
    save_model(draft, tokenizer, tmp_path)
    loaded = load_model(tmp_path)
    ids = torch.arange(30)[None]
    with torch.no_grad():
        assert torch.equal(loaded.hidden(ids), draft.hidden(ids))
    kinds = {path.suffix for path in tmp_path.iterdir()}
    assert not kinds & {".bin", ".pt", ".pth", ".pkl"}


def test_padding_ids_beyond_the_tokenizer_are_cut_off(
    tiny_directory: Path, tmp_path: Path, target: LanguageModel, tokenizer: Any
) -> None:
    copy = load_model(tiny_directory)
    copy.model.resize_token_embeddings(1024)
    save_model(copy, tokenizer, tmp_path)
    padded = load_model(tmp_path)
    ids = torch.arange(30)[None]
    with torch.no_grad():
        logits = padded.logits(padded.hidden(ids))
        expected = target.logits(target.hidden(ids))
    assert logits.shape[-1] == len(tokenizer)
    torch.testing.assert_close(logits, expected)


class Vocabulary:
    def __init__(self, **tokens: int) -> None:
        self.tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return self.tokens


def test_tokenizers_that_differ_are_shown_with_the_first_ids_that_disagree() -> None:
    first, second = Vocabulary(a=0, b=1, c=2), Vocabulary(a=0, c=1, b=2)
    with pytest.raises(UserError, match=r"differ in 2 ids \(1: 'b' and 'c'; 2: 'c' and 'b'\)"):
        check_same_tokenizer(first, second, ("one", "two"))
    check_same_tokenizer(first, Vocabulary(c=2, b=1, a=0), ("one", "two"))


def test_a_tokenizer_is_loaded_once_until_its_files_change(
    tiny_directory: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    first = load_tokenizer(folder)

    assert load_tokenizer(folder) is first
    settings = folder / "tokenizer_config.json"
    document = json.loads(settings.read_text("utf-8"))
    settings.write_text(json.dumps({**document, "model_max_length": 77}), encoding="utf-8")
    assert first.model_max_length != 77
    assert load_tokenizer(folder).model_max_length == 77


def test_a_folder_without_safetensors_is_refused(tiny_directory: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_directory / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"no \.safetensors"):
        model_digest(tmp_path)


def test_a_models_digest_is_of_its_contents_not_its_place(
    tiny_directory: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_directory, copy)
    assert model_digest(copy) == model_digest(tiny_directory)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert model_digest(copy) != model_digest(tiny_directory)


def test_an_unknown_model_is_answered_with_the_choices() -> None:
    with pytest.raises(UserError, match=r"'smollm3'.*smollm2-135m-instruct"):
        resolve_model("smollm3", Progress(quiet=True))


def test_a_model_without_an_end_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="names no end token"):
        end_tokens(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_without_its_body_gives_the_same_logits(tiny_directory: Path, tied: bool) -> None:
    loaded = load_model(tiny_directory)
    if not tied:
        head = loaded.model.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    hidden = torch.randn(3, loaded.hidden_size)
    with torch.no_grad():
        expected = loaded.logits(hidden)
        drop_body(loaded)
        loaded.model.to(torch.float32)
        assert torch.equal(loaded.logits(hidden), expected)
    assert loaded.device == torch.device("cpu")
    body = loaded.model.base_model.parameters()
    assert all(parameter.is_meta for parameter in body)


def test_a_tokenizer_model_of_sentencepiece_is_enough(tiny_directory: Path, tmp_path: Path) -> None:
    """Its ids are those of SentencePiece itself."""
    import sentencepiece

    texts = [f"A farmer has {n} sheep and buys {n % 7} more on day {n}." for n in range(300)]
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=trained,
        vocab_size=360,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",  # as Llama's
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    folder = tmp_path / "model"
    shutil.copytree(tiny_directory, folder)
    for name in ("tokenizer.json", "chat_template.jinja"):
        (folder / name).unlink()
    (folder / "tokenizer.model").write_bytes(trained.getvalue())
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "LlamaTokenizer", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))

    check_folder(folder)
    tokenizer = load_tokenizer(folder)

    own = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    for text in ("Two farmers buy 12 sheep.", "Ünïcode\n  and spaces"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert ids == own.encode(text)
