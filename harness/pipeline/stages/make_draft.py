"""The work of the draft stage: a draft init, trained by a method, saved with its ledger."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from draftmark.config.model_sections import Pair, Training, Writer
from draftmark.errors import UserError
from draftmark.models import language_model
from draftmark.models.draft_inits import load_fitted, make_draft
from draftmark.models.generation import Sampling
from draftmark.models.heads.block_imports import read_any_head
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.shared_vocabulary import match_vocabularies
from draftmark.models.spread import is_spread, target_placement
from draftmark.speculation.interfaces import FeatureMethod, Method
from draftmark.store.graph import Job
from draftmark.store.records import DRAFT, TEXTS, read_texts, training_states, training_texts
from draftmark.store.store import write_json
from draftmark.training.batches import (
    FixedTexts,
    LiveTexts,
    OnPolicyTexts,
    Source,
    TrainingTexts,
)
from draftmark.training.context import Draft
from draftmark.training.ledger import tokens_read
from draftmark.training.loop import TrainingContext
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.training.validation import Criterion, acceptance_criterion
from draftmark.types import Ledger, Placement, Prompt

# How often the target reads each input before training: to write the text, for its final states ...
READINGS = {training_texts("dataset"): 1, training_texts("target"): 2, "validation": 2}
READINGS |= {training_states(texts): 1 for texts in tuple(READINGS)}  # ... and for its layer states


@dataclass(frozen=True)
class DraftSpec:
    """The pair, method and settings of a draft."""

    pair: Pair
    method: Method
    training: Training
    sampling: Sampling  # of the draft's own training text, if it has a share
    seed: int

    @property
    def on_policy(self) -> bool:
        """True if the draft is trained on texts that it writes."""
        return self.method.trains and "draft" in self.training.shares


def write_draft(spec: DraftSpec, job: Job, team: ProcessGroup = ALONE) -> None:
    """Write the draft of a method into `job.out`: weights, tokenizer and `draft.json`.

    A method without a model gets only `draft.json`. The first process of the team writes. Raises
    UserError if a draft model's tokenizer is not the target's, or `train` returned no draft.
    """
    if spec.method.kind == "training_free":
        write_json(job.out / DRAFT, {"init": "none", "parameters": 0, "ledger": asdict(Ledger())})
        return
    pair = spec.pair
    placement = target_placement(pair)
    tokenizer = language_model.load_tokenizer(
        job.inputs["target"], trust_remote_code=pair.trust_remote_code
    )
    target = language_model.load_model(job.inputs["target"], placement)
    start = _start(spec, target, tokenizer, job, placement.whole)
    if not spec.on_policy:
        language_model.drop_body(target)  # only the head is used from here on
    elif is_spread(target.model):  # its weights are not here to cast
        target = language_model.load_model(job.inputs["target"], target_placement(pair, pair.dtype))
    language_model.cast_weights(target, pair.dtype)
    # A loss compares the tokens that both heads have rows for.
    target = replace(target, vocab_size=min(target.vocab_size, start.vocab_size))
    before = Ledger(target_forward_tokens=_tokens_read_before(spec, job))
    draft = _train(spec, start, target, job, before, team)
    if not isinstance(draft, Draft) or draft.model is None:
        raise UserError(
            f"{type(spec.method).__name__}.train returned {draft!r:.60}; return a Draft with a "
            "model, like the one that draftmark.training.loop.train returns."
        )
    if team.is_first:
        if isinstance(draft.model, language_model.SharedVocabularyModel):
            tokenizer = _own_tokenizer(spec, job)  # servers read the draft with it
        language_model.save_model(draft.model, tokenizer, job.out)
        facts = {
            "init": _describe_init(spec),
            "parameters": draft.model.model.num_parameters(),
            "trained_parameters": draft.trained_parameters
            or draft.model.model.num_parameters(only_trainable=True),
            "processes": team.count,
            "ledger": asdict(before + draft.ledger),
            "history": list(draft.history),
        }
        write_json(job.out / DRAFT, facts)


def _describe_init(spec: DraftSpec) -> str:
    """Return the init of a draft in words; a new head is none of the pair's."""
    init = spec.pair.draft
    is_new_head = spec.method.kind == "feature_head" and init.trained_head is None
    return "a head on the target's features" if is_new_head else init.describe()


def _start(
    spec: DraftSpec,
    target: language_model.LanguageModel,
    tokenizer: Any,
    job: Job,
    placement: Placement,
) -> language_model.LanguageModel:
    """Return the draft init.

    Raises UserError if a draft model has another tokenizer, unless the vocabulary is shared.
    """
    pair, directory = spec.pair, job.inputs.get("init")
    if pair.draft.trained_head is not None:
        return read_any_head(job.inputs["init"], target, pair.draft.trained_head)
    if isinstance(spec.method, FeatureMethod):
        fixed = training_texts(spec.training.fixed_text)
        texts = read_texts(job.inputs[fixed] / TEXTS)
        return spec.method.head(target, texts, spec.seed)
    if pair.draft.head == "fitted":
        return load_fitted(job.inputs["init"], placement)
    if directory is not None:
        own = _own_tokenizer(spec, job)
        if pair.draft.vocabulary == "shared":
            loaded = language_model.load_model(directory, placement)
            rows = loaded.model.get_output_embeddings().weight.shape[0]
            shared = match_vocabularies(tokenizer, own, target.vocab_size, rows)
            return language_model.share_vocabulary(loaded, shared)
        language_model.check_same_tokenizer(tokenizer, own, (pair.target, str(pair.draft.model)))
    return make_draft(pair.draft, target, seed=spec.seed, directory=directory, placement=placement)


def _own_tokenizer(spec: DraftSpec, job: Job) -> Any:
    """Return the tokenizer of the model that the draft starts from."""
    trusted = spec.pair.trust_remote_code
    return language_model.load_tokenizer(job.inputs["init"], trust_remote_code=trusted)


def _train(
    spec: DraftSpec,
    start: language_model.LanguageModel,
    target: language_model.LanguageModel,
    job: Job,
    spent: Ledger,
    team: ProcessGroup,
) -> Draft:
    """Return the draft that the method trains from the draft init."""
    context = TrainingContext(
        draft=start,
        target=target,
        settings=spec.training,
        dtype=spec.pair.dtype,
        seed=spec.seed,
        scratch=job.scratch,
        spent=spent,
        team=team,
    )
    if not spec.method.trains:
        return spec.method.train(context)
    shares, reader = spec.training.shares, _reader(spec, job)
    sources = {writer: _source(writer, spec, context, job, reader) for writer in shares}
    texts = TrainingTexts(sources, shares, spec.seed)
    criterion = _criterion(spec.method, target, job)
    ready = replace(context, texts=texts, criterion=criterion)
    with ready.tracked(job, "training") as tracked:
        return spec.method.train(tracked)


def _criterion(method: Method, target: language_model.LanguageModel, job: Job) -> Criterion:
    validation = StoredHiddenStates.load(job.inputs["validation"])
    states = _states("validation", job)
    if isinstance(method, FeatureMethod):
        assert states is not None
        return method.criterion(target, validation, states)
    return acceptance_criterion(target, validation)


def _states(texts: str, job: Job) -> StoredHiddenStates | None:
    """Return the target's layer states on texts, or None if the method does not read them."""
    directory = job.inputs.get(training_states(texts))
    return StoredHiddenStates.load(directory) if directory else None


def _reader(spec: DraftSpec, job: Job) -> language_model.LanguageModel | None:
    """Return the target that reads texts in every step, in the dtype of stored states' reading.

    None if the states are stored. The target of the losses is another: cast, and without a body.
    """
    if not spec.training.reads_live:
        return None
    return language_model.load_model(job.inputs["target"], target_placement(spec.pair))


def _source(
    writer: Writer,
    spec: DraftSpec,
    context: TrainingContext,
    job: Job,
    reader: language_model.LanguageModel | None,
) -> Source:
    directory = job.inputs[training_texts(writer)]
    if writer == "draft":
        texts = read_texts(directory / TEXTS)
        prompts = [Prompt(text.example_id, text.prompt_ids) for text in texts]
        assert context.target is not None
        return OnPolicyTexts(context.draft, context.target, prompts, spec.sampling)
    if reader is not None:
        method, num_layers = spec.method, reader.model.config.num_hidden_layers
        layers = method.layers(num_layers) if isinstance(method, FeatureMethod) else ()
        return LiveTexts(read_texts(directory / TEXTS), reader, layers)
    final = StoredHiddenStates.load(directory)
    return FixedTexts(final.texts, final, _states(training_texts(writer), job))


def _tokens_read_before(spec: DraftSpec, job: Job) -> int:
    """Return the number of tokens that the target read for this draft before its training."""
    live = set()  # texts that the target has not read yet: their states are not stored
    if spec.training.reads_live:
        live = set(map(training_texts, spec.training.shares))
        if spec.pair.draft.head == "fitted":  # the fit has read its text
            live.discard(training_texts(spec.training.fixed_text))
    return sum(
        (times - (name in live)) * tokens_read(read_texts(job.inputs[name] / TEXTS))
        for name, times in READINGS.items()
        if name in job.inputs
    )
