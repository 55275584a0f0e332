"""Makes a draft: the pair's init, what a method makes of it, saved with its ledger."""

from dataclasses import asdict, replace

from harness import models
from harness.config import Pair, Training
from harness.graph import Job
from harness.protocols import Method
from harness.schedule import total_steps
from harness.store import write_json
from harness.teacher import Features
from harness.training import TrainingContext
from harness.types import Draft

FACTS = "draft.json"


def make(pair: Pair, method: Method, training: Training, seed: int, job: Job) -> None:
    """Write the draft that a method makes of the pair's init, loadable by any engine."""
    device = models.pick_device()
    trust = pair.trust_remote_code
    tokenizer = models.load_tokenizer(job.inputs["target"], trust_remote_code=trust)
    if given := job.inputs.get("init"):
        own = models.load_tokenizer(given, trust_remote_code=trust)
        models.check_same_tokenizer(tokenizer, own, (pair.target, str(pair.draft.model)))
    whole = models.load_model(job.inputs["target"], device=device, trust_remote_code=trust)
    start = models.make_draft(pair.draft, whole, seed=seed, directory=given)
    head = models.load_model(
        job.inputs["target"], dtype=pair.dtype, device=device, trust_remote_code=trust
    )
    num_rows = len(Features.load(job.inputs["train"]).texts) if method.trains else 0
    with job.progress.step("training", total_steps(num_rows, training)) as step:
        made = method.train(
            TrainingContext(
                draft=models.LanguageModel(start.model.to(device), start.vocab_size),
                target=head,
                features=job.inputs,
                settings=training,
                dtype=pair.dtype,
                seed=seed,
                scratch=job.scratch,
                step=step,
            )
        )
    models.save_model(made.model, tokenizer, job.out)
    write_json(job.out / FACTS, _facts(made, pair, _tokens_read(job) if method.trains else 0))


def _facts(made: Draft, pair: Pair, target_tokens: int) -> dict[str, object]:
    model = made.model.model
    return {
        "head": pair.draft.head if pair.draft.pruned is not None else "own",
        "parameters": model.num_parameters(),
        "trained_parameters": model.num_parameters(only_trainable=True),
        "ledger": asdict(replace(made.ledger, target_forward_tokens=target_tokens)),
        "history": list(made.history),
    }


def _tokens_read(job: Job) -> int:
    """Return how many tokens the target has read for this training, validation included."""
    return sum(
        len(text.prompt_ids) + len(text.response_ids)
        for name in ("train", "validation")
        for text in Features.load(job.inputs[name]).texts
    )
