"""Rows read in parts, and layers computed again, give the draft of a whole step up to rounding."""

from typing import Any

import torch

from draftmark.config.lora import Lora
from draftmark.config.model_sections import Training
from draftmark.config.recipe import MethodEntry
from draftmark.contract.fixtures import SETTINGS, context, context_for_method, few
from draftmark.speculation.methods import build_method
from draftmark.training.lora import adapted, dropout
from draftmark.training.recomputation import recomputed_layers

__all__ = ["context", "few"]

SMALL = SETTINGS.model_copy(update={"passes": 1, "validations": 1, "learning_rate": 1e-4})
WAYS = {
    "one row at a time": {"rows_at_once": 1},
    "three rows at a time": {"rows_at_once": 3},
    "layers computed again": {"gradient_checkpointing": True},
    "both": {"rows_at_once": 2, "gradient_checkpointing": True},
}
CASES = [
    *(("kd", name) for name in WAYS),
    ("adaspec", "three rows at a time"),  # it selects tokens of the whole step, in a pass before
    ("adaspec", "both"),
    ("eagle3", "both"),  # its layer is not computed again
]


def trained(context: Any, few: Any, method: str, **changes: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a draft that is trained for three steps of four rows."""
    built = build_method(MethodEntry(name=method))
    given = context_for_method(context(settings=SMALL.model_copy(update=changes)), built, few)
    weights: dict[str, torch.Tensor] = built.train(given).model.model.state_dict()
    return weights


def test_the_draft_is_the_same(context: Any, few: Any) -> None:
    whole: dict[str, dict[str, torch.Tensor]] = {}
    for method, way in CASES:
        expected = whole.get(method) or whole.setdefault(method, trained(context, few, method))
        for key, value in trained(context, few, method, **WAYS[way]).items():
            close = torch.allclose(value, expected[key], rtol=1e-4, atol=2e-5)
            assert close, (method, way, key)


def test_layers_that_are_computed_again_keep_their_inputs_alone(target: Any) -> None:
    def kept(wanted: bool) -> int:
        sizes: list[int] = []
        ids_BT = torch.arange(64)[None]
        with (
            torch.autograd.graph.saved_tensors_hooks(
                lambda value: (sizes.append(value.nbytes), value)[1], lambda value: value
            ),
            recomputed_layers(target.model, wanted=wanted),
        ):
            target.hidden(ids_BT)
        return sum(sizes)

    assert kept(True) < kept(False) / 4
    assert not any("forward" in vars(layer) for layer in target.model.model.layers)


def test_dropout_of_adapters_is_drawn_again_as_it_was(draft: Any) -> None:
    settings = Lora(rank=4, dropout=0.5, modules=("q_proj", "up_proj"))
    gradients = []
    with adapted(draft.model, settings, 0):
        for wanted in (False, True):
            draft.model.zero_grad()
            with (
                dropout(draft.model, settings, 7),
                recomputed_layers(draft.model, wanted=wanted),
            ):
                states_BTD = draft.hidden(torch.arange(30)[None])
            states_BTD.square().sum().backward()
            trained = [each for each in draft.model.parameters() if each.requires_grad]
            gradients.append([each.grad.clone() for each in trained])
    assert any(bool(each.any()) for each in gradients[0])
    assert all(map(torch.equal, *gradients))


def test_memory_settings_are_in_no_key() -> None:
    plain = Training()
    for way in WAYS.values():
        changed = Training(**way)
        assert changed.key_settings() == plain.key_settings()
        assert changed.model_dump() != plain.model_dump()
    assert not {"rows_at_once", "gradient_checkpointing"} & plain.model_dump().keys()
