"""What is not the whole weights of a model is refused by one sentence with the fix."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from draftmark.errors import UserError
from draftmark.models.language_model import load_model
from draftmark.models.weights import INDEX, WEIGHTS, check_folder

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 123456\n"
Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tiny_directory: Path, tmp_path: Path) -> Path:
    """A copy of the tiny target."""
    shutil.copytree(tiny_directory, tmp_path / "model")
    return tmp_path / "model"


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _shards(folder: Path) -> dict[str, str]:
    """Save the weights in two files with an index; return the file of each tensor."""
    weights = load_file(folder / WEIGHTS)
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, kept in halves.items():
        save_file({name: weights[name] for name in kept}, folder / file, metadata={"format": "pt"})
    (folder / WEIGHTS).unlink()
    files = {name: file for file, kept in halves.items() for name in kept}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return files


def test_whole_weights_in_one_file_or_several_are_no_fault(folder: Path) -> None:
    check_folder(folder)
    _shards(folder)
    check_folder(folder)
    load_model(folder)


def _adapter(folder: Path) -> None:
    _edit(folder / "config.json", adapter=1)
    facts = {"peft_type": "LORA", "base_model_name_or_path": "org/base"}
    (folder / "adapter_config.json").write_text(json.dumps(facts))


def _half(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def _missing_shard(folder: Path) -> None:
    _shards(folder)
    (folder / "b.safetensors").unlink()


def _half_a_shard(folder: Path) -> None:
    _shards(folder)
    data = (folder / "b.safetensors").read_bytes()
    (folder / "b.safetensors").write_bytes(data[:-100])


def _index_of_others(folder: Path) -> None:
    files = _shards(folder)
    _edit(folder / INDEX, weight_map={**files, "model.extra.weight": "a.safetensors"})


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def _packed(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({**weights, name: weights[name].to(torch.int8)}, folder / WEIGHTS)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "adapter": (_adapter, r"LoRA adapter of 'org/base', not a model; merge it"),
    "pointer": (lambda at: (at / WEIGHTS).write_text(POINTER), "git-lfs pointer.*git lfs pull"),
    "pointer of the tokenizer": (
        lambda at: (at / "tokenizer.json").write_text(POINTER),
        r"tokenizer\.json is a git-lfs pointer",
    ),
    "half a file": (_half, "it is cut or damaged; copy or download it again"),
    "half a shard": (_half_a_shard, r"b\.safetensors has \d+ bytes and its header names \d+"),
    "a missing shard": (_missing_shard, r"lacks 1 of the 2 files .*first b\.safetensors"),
    "an index of others": (_index_of_others, r"1 of 75 tensors are not in .*model\.extra"),
    "an index of nothing": (
        lambda at: ((at / WEIGHTS).unlink(), (at / INDEX).write_text("{}")),
        "names no files",
    ),
    "a text": (lambda at: (at / WEIGHTS).write_text("404: Not Found"), "not a whole safetensors"),
    "an empty file": (lambda at: (at / WEIGHTS).write_bytes(b""), "not a whole safetensors"),
    "pickled weights": (_pickled, r"it has pytorch_model\.bin.*save it with save_pretrained"),
    "another name": (
        lambda at: (at / WEIGHTS).rename(at / "consolidated.safetensors"),
        r"it has consolidated\.safetensors",
    ),
    "no config": (lambda at: (at / "config.json").unlink(), r"has no config\.json"),
    "MLX": (
        lambda at: _edit(at / "config.json", quantization={"bits": 4, "group_size": 64}),
        "quantised weights",
    ),
    **{
        method: (
            lambda at, method=method: _edit(
                at / "config.json", quantization_config={"quant_method": method}
            ),
            rf"quantised weights \({method}\).*dequantise them",
        )
        for method in ("torchao", "quanto", "of mine")
    },
    "weights of another name in the config": (
        lambda at: _edit(at / "config.json", transformers_weights="other.safetensors"),
        r"names the weights 'other\.safetensors' \(transformers_weights\)",
    ),
    **{
        f"an index of {name}": (
            lambda at, name=name: (
                (at / WEIGHTS).unlink(),
                (at / INDEX).write_text(json.dumps({"weight_map": {"a": name}})),
            ),
            "which is not a .safetensors file beside it",
        )
        for name in ("../model.safetensors", "sub/model.safetensors", "pytorch_model.bin", 3)
    },
    "no tokenizer": (
        lambda at: ((at / "tokenizer.json").unlink(), (at / "tokenizer_config.json").unlink()),
        r"has no tokenizer \(tokenizer\.json, .*save the tokenizer",
    ),
    "a tokenizer's class without its vocabulary": (
        lambda at: (
            (at / "tokenizer.json").unlink(),
            _edit(at / "tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
        ),
        "has no tokenizer",
    ),
    "half a tokenizer": (
        lambda at: ((at / "tokenizer.json").unlink(), (at / "vocab.json").write_text("{}")),
        "has no tokenizer",
    ),
    "integers": (_packed, r"quantised weights \(model\.layers\.0\.mlp\.up_proj\.weight\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_folder_is_named_with_its_fix(folder: Path, fault: str) -> None:
    spoil, sentence = FAULTS[fault]
    spoil(folder)

    with pytest.raises(UserError, match=sentence) as caught:
        check_folder(folder)
    assert str(folder) in str(caught.value)


def _named(change: Callable[[str], str]) -> Callable[[Path], None]:
    """Return what renames all tensors of a folder."""

    def rename(folder: Path) -> None:
        weights = {change(name): value for name, value in load_file(folder / WEIGHTS).items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return rename


def _without(folder: Path, *names: str) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({k: v for k, v in weights.items() if k not in names}, folder / WEIGHTS)


def _two_heads(folder: Path) -> None:
    """A head of its own in the file of a model whose config ties it to the embedding."""
    weights = load_file(folder / WEIGHTS)
    head = weights["model.embed_tokens.weight"].flip(0).clone()
    save_file({**weights, "lm_head.weight": head}, folder / WEIGHTS, metadata={"format": "pt"})


def _untied(folder: Path) -> None:
    _edit(folder / "config.json", tie_word_embeddings=False)


UP = "model.layers.3.mlp.up_proj.weight"
UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"the wrapper {prefix}": (
            _named(lambda name, prefix=prefix: prefix + name),
            rf"75 of 75 weights are missing \(lm_head\.weight, .*\.\.\.\); 74 tensors belong to no "
            rf"weight .*have '{prefix}' more.*save_pretrained",
        )
        for prefix in ("_orig_mod.", "module.", "model.model.", "base_model.model.", "student.net.")
    },
    "a wrapper around each layer": (
        _named(lambda name: re.sub(r"(layers\.\d+\.)", r"\1_fsdp_wrapped_module.", name)),
        r"72 of 75 weights are missing .*have '_fsdp_wrapped_module\.' more",
    ),
    "a wrapper around some layers": (
        _named(lambda name: f"module.{name}" if ".7." in name else name),
        r"9 of 75 weights are missing .*have 'module\.' more",
    ),
    "fewer layers than its config": (
        lambda at: _edit(at / "config.json", num_hidden_layers=10, layer_types=None),
        r"18 of 93 weights are missing \(model\.layers\.8",
    ),
    "more layers than its config": (
        lambda at: _edit(at / "config.json", num_hidden_layers=6, layer_types=None),
        r"18 tensors belong to no weight \(model\.layers\.6.*another model",
    ),
    "one tensor missing": (
        lambda at: _without(at, UP),
        rf"1 of 75 weights are missing \({UP}\)\.",
    ),
    "the head missing": (_untied, r"\(lm_head\.weight\)\. .*tie_word_embeddings = true"),
    "another head than the one that its config ties": (
        _two_heads,
        r"ties lm_head\.weight to model\.embed_tokens\.weight .*set tie_word_embeddings = false",
    ),
    "another width": (
        lambda at: _edit(at / "config.json", intermediate_size=200),
        r"24 of 75 have another shape \(model\.layers\.0\.mlp\.down_proj\.weight is \(128, \d+\), "
        r"not \(128, 200\)\)",
    ),
    "another family": (
        lambda at: _edit(at / "config.json", model_type="gpt_neox"),
        "weights are missing",
    ),
    "an unknown family": (
        lambda at: _edit(at / "config.json", model_type="no_such_model"),
        "cannot be loaded by transformers .*no_such_model",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_weights_that_do_not_fit_the_config_are_refused(folder: Path, fault: str) -> None:
    spoil, sentence = UNFIT[fault]
    spoil(folder)

    with pytest.raises(UserError, match=sentence):
        load_model(folder)


def test_names_with_the_family_s_own_prefix_twice_load_as_they_were(
    folder: Path, tiny_directory: Path
) -> None:
    _named(lambda name: f"model.{name}")(folder)

    loaded, original = (load_model(at).model.state_dict() for at in (folder, tiny_directory))
    assert all(torch.equal(loaded[name], original[name]) for name in original)


def test_what_is_computed_from_the_config_may_lie_beside_the_weights(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    computed = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "model.layers.0.attn.masked_bias": torch.tensor(-1e4),
        "lm_head.weight": weights["model.embed_tokens.weight"].clone(),
    }
    save_file({**weights, **computed}, folder / WEIGHTS, metadata={"format": "pt"})

    load_model(folder)
