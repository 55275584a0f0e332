"""Makes a draft: the pair's init, what a method makes of it, saved with its ledger."""

from dataclasses import asdict, replace
from typing import Any

import torch

from harness import models
from harness.fitting import fit_head
from harness.graph import Job
from harness.protocols import Method
from harness.records import DRAFT
from harness.schedule import total_steps
from harness.sections import Pair, Training
from harness.store import write_json
from harness.teacher import Features
from harness.training import TrainingContext
from harness.types import Ledger, Placement


def make(pair: Pair, method: Method, training: Training, seed: int, job: Job) -> None:
    """Write the draft that a method makes of the pair's init, loadable by any engine.

    Of a method without a model, write that there is none.
    """
    if method.kind == "training_free":
        write_json(job.out / DRAFT, {"init": "none", "parameters": 0, "ledger": asdict(Ledger())})
        return
    placement = Placement(models.pick_device(), "float32", pair.trust_remote_code)
    tokenizer = models.load_tokenizer(
        job.inputs["target"], trust_remote_code=pair.trust_remote_code
    )
    target = models.load_model(job.inputs["target"], placement)
    start = _start(pair, target, tokenizer, seed, job, placement)
    # From here on only the target's head is used, in what training computes in.
    target.model.to(getattr(torch, pair.dtype))
    num_rows = len(Features.load(job.inputs["train"]).texts) if method.trains else 0
    with job.progress.step("training", total_steps(num_rows, training)) as step:
        made = method.train(
            TrainingContext(
                draft=models.LanguageModel(start.model.to(placement.device), start.vocab_size),
                target=target,
                features=job.inputs,
                settings=training,
                dtype=pair.dtype,
                seed=seed,
                scratch=job.scratch,
                step=step,
            )
        )
    assert made.model is not None, f"{type(method).__name__} trained no model"
    models.save_model(made.model, tokenizer, job.out)
    ledger = replace(made.ledger, target_forward_tokens=_tokens_read(training, job))
    facts = {"init": pair.draft.describe(), **_facts(made.model.model), "ledger": asdict(ledger)}
    write_json(job.out / DRAFT, {**facts, "history": list(made.history)})


def _start(
    pair: Pair,
    target: models.LanguageModel,
    tokenizer: Any,
    seed: int,
    job: Job,
    placement: Placement,
) -> models.LanguageModel:
    """Return the draft init; a given draft's tokenizer must be the target's."""
    given = job.inputs.get("init")
    if given is not None:
        own = models.load_tokenizer(given, trust_remote_code=pair.trust_remote_code)
        models.check_same_tokenizer(tokenizer, own, (pair.target, str(pair.draft.model)))
    start = models.make_draft(pair.draft, target, seed=seed, directory=given, placement=placement)
    if pair.draft.head == "fitted":
        return fit_head(start, target, Features.load(job.inputs["train"]))
    return start


def _facts(model: Any) -> dict[str, int]:
    return {
        "parameters": model.num_parameters(),
        "trained_parameters": model.num_parameters(only_trainable=True),
    }


def _tokens_read(training: Training, job: Job) -> int:
    """Return how many tokens the target has read for this draft: once to write, once as teacher."""
    passes = {"validation": 2, "train": 2 if training.text == "target" else 1}
    return sum(
        times * (len(text.prompt_ids) + len(text.response_ids))
        for name, times in passes.items()
        if name in job.inputs
        for text in Features.load(job.inputs[name]).texts
    )
