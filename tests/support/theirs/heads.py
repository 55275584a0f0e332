"""Makes EAGLE-3 heads with speculators and specforge: random weights, files and own logits.

`cases.json` in the folder has the cases by name; `FAMILY.safetensors` the token ids [T] that follow
the slots, the target's states [T, L, D], its last states before the norm [T, D] of the tokens that
follow, its norm and output head, and the mask [T] of predicted tokens with a loss. For each case it
writes a head's folder and `logits.safetensors` with the logits [K, T, V] of each depth, where
tokens are the text's, and of speculators' heads with the whole vocabulary the loss [K] of each
depth. This runs in a process of its own, where draftmark is not imported.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, LlamaConfig

DEPTH = 3


def main(folder: Path) -> None:
    """Make every case."""
    for name, case in json.loads((folder / "cases.json").read_text("utf-8")).items():
        read = load_file(folder / f"{case['family']}.safetensors")
        torch.manual_seed(0)
        made = {"speculators": _speculators, "specforge": _specforge}[case["library"]]
        with torch.no_grad():
            logits, loss = made(folder / name, case, read)
        kept = {"logits": torch.stack(logits)} | ({} if loss is None else {"loss": loss})
        save_file(kept, folder / name / "logits.safetensors")


def _randomise(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape) / 4
        parameter.copy_(1 + noise if parameter.dim() == 1 else noise)


def _maps(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return t2d and d2t of a draft vocabulary."""
    kept = torch.tensor(case["kept"])
    known = torch.zeros(case["layer"]["vocab_size"], dtype=torch.bool)
    known[kept] = True
    return known, kept - torch.arange(len(kept))


Made = tuple[list[torch.Tensor], torch.Tensor | None]


def _speculators(folder: Path, case: dict[str, Any], read: dict[str, torch.Tensor]) -> Made:
    from speculators.config import SpeculatorsConfig, VerifierConfig
    from speculators.losses import resolve_loss_config
    from speculators.models.eagle3 import Eagle3DraftModel, Eagle3SpeculatorConfig
    from speculators.proposals.greedy import GreedyTokenProposalConfig

    layer = AutoConfig.for_model(case["layer_family"], **case["layer"])
    layer._attn_implementation = "eager"
    size = len(case["kept"]) if case["kept"] else layer.vocab_size
    config = Eagle3SpeculatorConfig(
        transformer_layer_config=layer,
        draft_vocab_size=size,
        eagle_aux_hidden_state_layer_ids=case["layers"],
        speculators_config=SpeculatorsConfig(
            algorithm="eagle3",
            proposal_methods=[GreedyTokenProposalConfig(speculative_tokens=DEPTH)],
            default_proposal_method="greedy",
            verifier=VerifierConfig(name_or_path=None, architectures=[]),
        ),
        **case["flags"],
    )
    model = Eagle3DraftModel(config).eval()
    _randomise(model)
    if case["kept"]:
        model.load_vocab_mappings(*_maps(case))
    model.save_pretrained(folder)
    logits: list[torch.Tensor] = []
    model.lm_head.register_forward_hook(lambda *seen: logits.append(seen[-1][0].clone()))
    ids, states = read["ids"], read["states"].flatten(1)
    documents = torch.zeros(1, len(ids), dtype=torch.long)
    given: dict[str, Any] = {"loss_mask": read["mask"][None]}
    given["verifier_last_hidden_states"] = read["last"][None]
    given["loss_config"] = resolve_loss_config("kl_div", "eager")  # the fused one needs Triton
    if case["kept"]:
        given = {}
    else:
        model.verifier_norm.weight.copy_(read["norm"])
        model.verifier_lm_head.weight.copy_(read["output"])
    found = model(states[None], ids[None], documents, ttt_steps=DEPTH, **given)
    if case["kept"]:
        return logits, None
    return logits, torch.stack([found[2][f"loss_{depth}_sum"] for depth in range(DEPTH)])


def _specforge(folder: Path, case: dict[str, Any], read: dict[str, torch.Tensor]) -> Made:
    from specforge.modeling.draft.llama3_eagle import LlamaForCausalLMEagle3

    ids, states = read["ids"], read["states"].flatten(1)

    size = len(case["kept"]) if case["kept"] else case["layer"]["vocab_size"]
    nested = {"eagle_aux_hidden_state_layer_ids": [layer - 1 for layer in case["layers"]]}
    config = LlamaConfig(
        **case["layer"],
        architectures=["LlamaForCausalLMEagle3"],
        draft_vocab_size=size,
        eagle_config={**nested, "use_aux_hidden_state": True},
        tie_word_embeddings=False,
        **case["flags"],
    )
    model = LlamaForCausalLMEagle3(config).eval()
    _randomise(model)
    if case["kept"]:
        for own, made in zip((model.t2d, model.d2t), _maps(case), strict=True):
            own.copy_(made)
    model.save_pretrained(folder)
    slots = torch.arange(len(ids))[None]
    hidden = model.project_hidden_states(states[None])
    mask = model.prepare_decoder_attention_mask(
        torch.ones_like(slots, dtype=torch.bool), hidden, 1, len(ids), 0
    )
    cache: list[list[torch.Tensor]] = [[], []]
    logits = []
    for depth in range(DEPTH):  # the steps of specforge's training (algorithms/eagle3/model.py)
        following = torch.cat([ids[depth:], ids.new_zeros(depth)])[None]
        hidden = model.backbone(model.embed_input_ids(following), hidden, cache, mask, slots)
        logits.append(model.compute_logits(hidden)[0])
    return logits, None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
