"""Makes a draft: the pair's init, what a method makes of it, saved with its ledger."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from draftmark.config.model_sections import Pair, Training, Writer
from draftmark.errors import UserError
from draftmark.models import language_model
from draftmark.models.draft_inits import fit_head, make_draft
from draftmark.models.generation import Sampling
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.speculation.interfaces import FeatureMethod, Method
from draftmark.store.graph import Job
from draftmark.store.records import DRAFT, TEXTS, read_texts, training_states, training_texts
from draftmark.store.store import write_json
from draftmark.training.batches import Fixed, OnPolicy, Source, Texts
from draftmark.training.context import Draft
from draftmark.training.ledger import tokens_read
from draftmark.training.loop import TrainingContext
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.training.validation import Criterion, acceptance
from draftmark.types import Ledger, Placement, Prompt

# How often the target has read a text before training: to write it, and as teacher.
READINGS = {training_texts("dataset"): 1, training_texts("target"): 2, "validation": 2}
READINGS |= {training_states(texts): 1 for texts in tuple(READINGS)}  # for its features


@dataclass(frozen=True)
class DraftSpec:
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


def make(order: DraftSpec, job: Job, team: ProcessGroup = ALONE) -> None:
    """Write the draft that a method makes of the pair's init, loadable by any engine.

    Of a method without a model, write that there is none. Of a team, the first process writes.
    """
    if order.method.kind == "training_free":
        write_json(job.out / DRAFT, {"init": "none", "parameters": 0, "ledger": asdict(Ledger())})
        return
    pair = order.pair
    placement = Placement(language_model.pick_device(), "float32", pair.trust_remote_code)
    tokenizer = language_model.load_tokenizer(
        job.inputs["target"], trust_remote_code=pair.trust_remote_code
    )
    target = language_model.load_model(job.inputs["target"], placement)
    start = _start(order, target, tokenizer, job, placement)
    if not order.on_policy:
        language_model.drop_body(target)  # from here on only its head is used
    language_model.cast_weights(target, pair.dtype)  # what training computes in
    before = Ledger(target_forward_tokens=_tokens_read_before(job))
    made = _train(order, start, target, job, before, team)
    if not isinstance(made, Draft) or made.model is None:
        raise UserError(
            f"{type(order.method).__name__}.train returned {made!r:.60}; return a Draft with a "
            "model, like the one that draftmark.training.loop.train returns."
        )
    if team.is_first:
        language_model.save_model(made.model, tokenizer, job.out)
        facts = {
            "init": _init(order),
            **_facts(made.model.model),
            "processes": team.count,
            "ledger": asdict(before + made.ledger),
            "history": list(made.history),
        }
        write_json(job.out / DRAFT, facts)


def _start(
    order: DraftSpec,
    target: language_model.LanguageModel,
    tokenizer: Any,
    job: Job,
    placement: Placement,
) -> language_model.LanguageModel:
    """Return the draft init; a given draft's tokenizer must be the target's."""
    pair, given = order.pair, job.inputs.get("init")
    if isinstance(order.method, FeatureMethod):
        read = StoredHiddenStates.load(job.inputs[training_texts(order.training.fixed_text)])
        return order.method.head(target, read.texts, order.seed)
    if given is not None:
        own = language_model.load_tokenizer(given, trust_remote_code=pair.trust_remote_code)
        language_model.check_same_tokenizer(tokenizer, own, (pair.target, str(pair.draft.model)))
    made = make_draft(pair.draft, target, seed=order.seed, directory=given, placement=placement)
    start = language_model.LanguageModel(made.model.to(placement.device), made.vocab_size)
    if pair.draft.head == "fitted":
        read = StoredHiddenStates.load(job.inputs[training_texts(order.training.fixed_text)])
        return fit_head(start, target, read)
    return start


def _train(
    order: DraftSpec,
    start: language_model.LanguageModel,
    target: language_model.LanguageModel,
    job: Job,
    spent: Ledger,
    team: ProcessGroup,
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
    with ready.tracked(job, "training") as going:
        return order.method.train(going)


def _criterion(method: Method, target: language_model.LanguageModel, job: Job) -> Criterion:
    validation = StoredHiddenStates.load(job.inputs["validation"])
    states = _states("validation", job)
    if isinstance(method, FeatureMethod):
        assert states is not None
        return method.criterion(target, validation, states)
    return acceptance(target, validation)


def _states(texts: str, job: Job) -> StoredHiddenStates | None:
    """Return the target's states on some texts, where the method reads them."""
    directory = job.inputs.get(training_states(texts))
    return StoredHiddenStates.load(directory) if directory else None


def _source(
    writer: Writer,
    order: DraftSpec,
    draft: language_model.LanguageModel,
    target: language_model.LanguageModel,
    job: Job,
) -> Source:
    directory = job.inputs[training_texts(writer)]
    if writer == "draft":
        unanswered = read_texts(directory / TEXTS)
        prompts = [Prompt(text.example_id, text.prompt_ids) for text in unanswered]
        return OnPolicy(draft, target, prompts, order.sampling)
    final = StoredHiddenStates.load(directory)
    return Fixed(final.texts, final, _states(training_texts(writer), job))


def _init(order: DraftSpec) -> str:
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
