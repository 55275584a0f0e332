"""Block heads on small targets: trained a little, or with weights of a known answer."""

from pathlib import Path
from typing import Any

import torch
from head_cases import small_target

from draftmark.baselines.dflash import METHOD as DFlash
from draftmark.baselines.domino import METHOD as Domino
from draftmark.baselines.dspark import METHOD as DSpark
from draftmark.baselines.medusa import METHOD as Medusa
from draftmark.baselines.p_eagle import METHOD as PEagle
from draftmark.config.model_sections import Training
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.hidden_states import LiveStates
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress, Step
from draftmark.training.batches import FixedTexts, TrainingTexts
from draftmark.training.loop import TrainingContext
from draftmark.types import Prompt, Text

BLOCK_METHODS: dict[str, Any] = {
    "medusa": Medusa(),
    "p_eagle": PEagle(block_size=6),
    "dflash": DFlash(num_layers=1, loss="forward_kl"),
    "dspark": DSpark(num_layers=1, rank=8),
    "domino": Domino(num_layers=1, rank=8, gru_size=12),
}
SETTINGS = Training(passes=8, rows_per_batch=8, learning_rate=2e-2, validations=1)


def random_prompts(count: int, vocab_size: int = 64, seed: int = 0) -> list[Prompt]:
    """Return prompts of 2 to 6 random tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Prompt(
            str(number),
            tuple(torch.randint(vocab_size, (2 + number % 5,), generator=generator).tolist()),
        )
        for number in range(count)
    ]


def toy_target() -> LanguageModel:
    """Return a random target of two layers, whose sampled tokens are far from uniform."""
    target = small_target("llama")
    body = target.model.base_model
    body.layers, target.model.config.num_hidden_layers = body.layers[:2], 2
    with torch.no_grad():
        for layer in target.model.base_model.layers:
            layer.self_attn.o_proj.weight.mul_(4)
        target.model.base_model.norm.weight.fill_(4.0)
    return target


def head_context(
    method: Any,
    target: LanguageModel,
    source: FixedTexts,
    settings: Training,
    folder: Path,
    step: Step,
) -> TrainingContext:
    """Return the context in which a method trains a new head on texts."""
    return TrainingContext(
        draft=method.head(target, source.texts, 0),
        target=target,
        settings=settings,
        dtype="float32",
        seed=0,
        scratch=folder,
        step=step,
        texts=TrainingTexts({"dataset": source}, {"dataset": 1.0}),
        criterion=method.criterion(target, source.final_states, source.layer_states),
    )


def trained_block_head(
    method: Any, target: LanguageModel, texts: list[Text], folder: Path
) -> BlockHead:
    """Return a head trained a little on texts: some tokens are accepted, some rejected."""
    known = read_target_logits(target, texts).final_states
    states = LiveStates(target, method.layers(target.model.config.num_hidden_layers))
    with Progress(quiet=True).step("", 1) as step:
        source = FixedTexts(texts, known, states)
        context = head_context(method, target, source, SETTINGS, folder, step)
        made = method.train(context).model
    assert isinstance(made, BlockHead)
    return made


def random_head(method: Any, target: LanguageModel) -> BlockHead:
    """Return a head all of whose own weights are random, the norms' too."""
    head: BlockHead = method.head(target, [], 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in head.model.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(1 + noise / 4 if weight.dim() == 1 else noise / 4)
    return head


def silence_layers(module: torch.nn.Module) -> None:
    """Make every decoder layer pass its input on."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
