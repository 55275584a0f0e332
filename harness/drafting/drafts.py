"""Makes a draft: the pair's init, what a method makes of it, saved with its ledger."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from harness import models
from harness.drafting.fitting import fit_head
from harness.errors import UserError
from harness.graph import Job
from harness.heads.states import States
from harness.learning.batches import Fixed, OnPolicy, Source, Texts
from harness.learning.ledgers import tokens_read
from harness.learning.selection import Criterion, acceptance
from harness.learning.teams import ALONE, Team
from harness.protocols import FeatureMethod, Method
from harness.responses.generation import Sampling
from harness.settings.model_sections import Pair, Training, Writer
from harness.storage.records import DRAFT, TEXTS, read_texts, training_states, training_texts
from harness.store import write_json
from harness.teacher import Features
from harness.training import TrainingContext
from harness.types import Draft, Ledger, Placement, Prompt

# How often the target has read a text before training: to write it, and as teacher.
READINGS = {training_texts("dataset"): 1, training_texts("target"): 2, "validation": 2}
READINGS |= {training_states(texts): 1 for texts in tuple(READINGS)}  # for its features


@dataclass(frozen=True)
class Order:
    """What a draft is made by."""

    pair: Pair
    method: Method
    training: Training
    sampling: Sampling  # how it writes what it is trained on, if it does
    seed: int

    @property
    def on_policy(self) -> bool:
        """Whether the draft writes texts that it is trained on."""
        return self.method.trains and "draft" in self.training.shares


def make(order: Order, job: Job, team: Team = ALONE) -> None:
    """Write the draft that a method makes of the pair's init, loadable by any engine.

    Of a method without a model, write that there is none. Of a team, the first process writes.
    """
    if order.method.kind == "training_free":
        write_json(job.out / DRAFT, {"init": "none", "parameters": 0, "ledger": asdict(Ledger())})
        return
    pair = order.pair
    placement = Placement(models.pick_device(), "float32", pair.trust_remote_code)
    tokenizer = models.load_tokenizer(
        job.inputs["target"], trust_remote_code=pair.trust_remote_code
    )
    target = models.load_model(job.inputs["target"], placement)
    start = _start(order, target, tokenizer, job, placement)
    if not order.on_policy:
        models.drop_body(target)  # from here on only its head is used
    models.cast_weights(target, pair.dtype)  # what training computes in
    before = Ledger(target_forward_tokens=_tokens_read_before(job))
    made = _train(order, start, target, job, before, team)
    if not isinstance(made, Draft) or made.model is None:
        raise UserError(
            f"{type(order.method).__name__}.train returned {made!r:.60}; return a Draft with a "
            "model, like the one that harness.training.train returns."
        )
    if team.is_first:
        models.save_model(made.model, tokenizer, job.out)
        facts = {
            "init": _init(order),
            **_facts(made.model.model),
            "processes": team.count,
            "ledger": asdict(before + made.ledger),
            "history": list(made.history),
        }
        write_json(job.out / DRAFT, facts)


def _start(
    order: Order, target: models.LanguageModel, tokenizer: Any, job: Job, placement: Placement
) -> models.LanguageModel:
    """Return the draft init; a given draft's tokenizer must be the target's."""
    pair, given = order.pair, job.inputs.get("init")
    if isinstance(order.method, FeatureMethod):
        read = Features.load(job.inputs[training_texts(order.training.fixed_text)])
        return order.method.head(target, read.texts, order.seed)
    if given is not None:
        own = models.load_tokenizer(given, trust_remote_code=pair.trust_remote_code)
        models.check_same_tokenizer(tokenizer, own, (pair.target, str(pair.draft.model)))
    made = models.make_draft(
        pair.draft, target, seed=order.seed, directory=given, placement=placement
    )
    start = models.LanguageModel(made.model.to(placement.device), made.vocab_size)
    if pair.draft.head == "fitted":
        read = Features.load(job.inputs[training_texts(order.training.fixed_text)])
        return fit_head(start, target, read)
    return start


def _train(
    order: Order,
    start: models.LanguageModel,
    target: models.LanguageModel,
    job: Job,
    spent: Ledger,
    team: Team,
) -> Draft:
    """Return what the method makes of the draft init."""
    context = TrainingContext(
        draft=start,
        target=target,
        settings=order.training,
        dtype=order.pair.dtype,
        seed=order.seed,
        scratch=job.scratch,
        spent=spent,
        team=team,
    )
    if not order.method.trains:
        return order.method.train(context)
    shares = order.training.shares
    sources = {writer: _source(writer, order, start, target, job) for writer in shares}
    texts = Texts(sources, shares, order.seed)
    criterion = _criterion(order.method, target, job)
    ready = replace(context, texts=texts, criterion=criterion)
    with ready.under_way(job, "training") as going:
        return order.method.train(going)


def _criterion(method: Method, target: models.LanguageModel, job: Job) -> Criterion:
    validation = Features.load(job.inputs["validation"])
    states = _states("validation", job)
    if isinstance(method, FeatureMethod):
        assert states is not None
        return method.criterion(target, validation, states)
    return acceptance(target, validation)


def _states(texts: str, job: Job) -> States | None:
    """Return the target's states on some texts, where the method reads them."""
    directory = job.inputs.get(training_states(texts))
    return States.load(directory) if directory else None


def _source(
    writer: Writer,
    order: Order,
    draft: models.LanguageModel,
    target: models.LanguageModel,
    job: Job,
) -> Source:
    directory = job.inputs[training_texts(writer)]
    if writer == "draft":
        unanswered = read_texts(directory / TEXTS)
        prompts = [Prompt(text.example_id, text.prompt_ids) for text in unanswered]
        return OnPolicy(draft, target, prompts, order.sampling)
    features = Features.load(directory)
    return Fixed(features.texts, features, _states(training_texts(writer), job))


def _init(order: Order) -> str:
    """Return what the draft started as, in words."""
    if order.method.kind == "feature_head":
        return "a head on the target's features"
    return order.pair.draft.describe()


def _facts(model: Any) -> dict[str, int]:
    return {
        "parameters": model.num_parameters(),
        "trained_parameters": model.num_parameters(only_trainable=True),
    }


def _tokens_read_before(job: Job) -> int:
    """Return how many tokens the target has read for this draft before its training."""
    return sum(
        times * tokens_read(read_texts(job.inputs[name] / TEXTS))
        for name, times in READINGS.items()
        if name in job.inputs
    )
