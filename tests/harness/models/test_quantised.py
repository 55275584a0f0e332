"""Quantised models are targets: they give the numbers of their weights, and train nothing."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from quantised_cases import INT8, mark, quantise
from safetensors.torch import load_file, save_file

from draftmark.baselines.medusa import METHOD as Medusa
from draftmark.config.model_sections import DraftInit, FineTuning, Pair
from draftmark.errors import UserError
from draftmark.models import quantised
from draftmark.models.draft_inits import make_draft
from draftmark.models.files import model_facts
from draftmark.models.heads.feature_head import HeadShape, make_head
from draftmark.models.language_model import load_model
from draftmark.models.shapes import model_shape
from draftmark.models.weights import check_folder
from draftmark.reports._shared.manifest import _origin
from draftmark.types import Placement

# Importing compressed-tensors compiles, which torch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method:DeprecationWarning")
INSTALLED = {
    "fp8": True,
    "compressed-tensors": importlib.util.find_spec("compressed_tensors") is not None,
}
METHODS = [
    pytest.param(name, marks=pytest.mark.skipif(not there, reason=f"{name} is not installed"))
    for name, there in INSTALLED.items()
]


@pytest.fixture(scope="module", params=METHODS)
def folders(
    request: pytest.FixtureRequest, tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    return quantise(tiny_directory, tmp_path_factory.mktemp("models"), request.param)


@torch.no_grad()
def test_a_quantised_target_gives_the_numbers_of_its_weights(folders: tuple[Path, Path]) -> None:
    check_folder(folders[0])
    target, plain = (load_model(folder) for folder in folders)
    ids_BT = torch.arange(20)[None]
    states = [each.hidden(ids_BT) for each in (target, plain)]
    torch.testing.assert_close(*states, rtol=1e-5, atol=1e-5)
    logits = [model.logits(each) for model, each in zip((target, plain), states, strict=True)]
    torch.testing.assert_close(*logits, rtol=1e-5, atol=1e-4)
    assert model_shape("", folders[0]) == model_shape("", folders[1])


def test_heads_and_random_drafts_of_it_are_ordinary_models(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    target, plain = (load_model(folder) for folder in folders)
    for make in (
        lambda model: make_head(model, HeadShape("eagle3", (1, 4, 8), model.vocab_size), seed=0),
        lambda model: make_draft(DraftInit(random={"num_hidden_layers": 1}), model, seed=0),
        lambda model: Medusa().head(model, [], 0),
    ):
        own, other = (make(each).model for each in (target, plain))
        assert own.state_dict().keys() == other.state_dict().keys()
        own.save_pretrained(tmp_path)
        assert "quantization" not in (tmp_path / "config.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("settings", "scheme"),
    [
        (INT8, "compressed-tensors, pack-quantized, 8 bits"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq, 4 bits, groups of 128"),
        ({"quant_method": "awq", "bits": 4, "group_size": -1}, "awq, 4 bits"),
        ({"quant_method": "fp8"}, "fp8, 8 bits"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            "bitsandbytes, 4 bits, nf4",
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bits"),
        (None, None),
    ],
)
def test_results_name_the_scheme(
    tiny_directory: Path, tmp_path: Path, settings: dict[str, Any] | None, scheme: str | None
) -> None:
    folder = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    mark(folder, settings)
    facts = model_facts("mine", folder)
    assert facts.get("quantisation") == scheme
    line = f"quantised: {scheme}, " if scheme else ""
    assert _origin({"models": {"target": facts}}, "target") == line
    hub = {**facts, "source": "hub", "name": "a/b@c"}
    assert _origin({"models": {"target": hub}}, "target") == f"hub a/b@c, {line}"


@pytest.mark.parametrize("method", ["compressed-tensors", "gptq", "awq", "bitsandbytes"])
def test_without_its_packages_one_sentence_says_what_to_install(
    tiny_directory: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    mark(folder, {"quant_method": method})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        load_model(folder, Placement())
    assert f"pip install {' '.join(quantised.PACKAGES[method])}`" in str(caught.value)
    assert method in str(caught.value)


def test_a_quantised_output_head_is_refused(tiny_directory: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight_packed"] = torch.zeros(4, 4, dtype=torch.int32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    mark(folder, INT8)
    with pytest.raises(UserError, match=r"output head \(lm_head\.weight_packed\)"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("draft", "changes", "sentence"),
    [
        ({"pruned": (0, 7)}, {}, "a pruned draft copies its layers.*Name a model as the draft"),
        ({"model": "QUANTISED"}, {}, "a draft would start from it.*Name the model that it was"),
        (
            {"random": {"num_hidden_layers": 1}},
            {"fine_tune": FineTuning()},
            "fine_tune trains the target",
        ),
    ],
)
def test_what_would_train_quantised_weights_is_refused(
    tiny_directory: Path, tmp_path: Path, draft: Any, changes: Any, sentence: str
) -> None:
    from draftmark.config.recipe import Recipe
    from draftmark.pipeline.experiment import plan_experiment
    from draftmark.pipeline.recipe_files import load_recipe
    from draftmark.progress import Progress

    folder = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    mark(folder, {"quant_method": "fp8"})
    named = {name: str(folder) if value == "QUANTISED" else value for name, value in draft.items()}
    target = "tiny-target" if "model" in draft else str(folder)
    pair = Pair(name="p", target=target, draft=DraftInit(**named), **changes)
    document = load_recipe("quickstart", tasks=["gsm8k"]).model_dump(mode="json")
    document["data"] |= {"train_rows": 2, "validation_rows": 2, "test_rows": 2}
    document |= {"pairs": [pair.model_dump(mode="json")], "speed": False}
    with pytest.raises(UserError, match=rf"is quantised \(fp8, 8 bits\), and {sentence}"):
        plan_experiment(Recipe(**document), Progress(quiet=True))


def test_the_config_of_a_quantised_model_is_still_its_own(
    folders: tuple[Path, Path],
) -> None:
    load_model(folders[0])
    kept = json.loads((folders[0] / "config.json").read_text("utf-8"))
    assert kept["quantization_config"]["quant_method"] == folders[0].name
