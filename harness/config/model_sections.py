"""The sections of a recipe on models: pairs, draft inits, training."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from draftmark.config.lora import Lora, without_rank_zero
from draftmark.config.placement import TargetPlacement, memory_limits
from draftmark.config.sections import Count, Fraction
from draftmark.config.validation import NoneIfFalse, Section

Writer = Literal["dataset", "target", "draft"]
Features = Literal["stored", "live", "auto"]
WRITERS: tuple[Writer, ...] = ("dataset", "target", "draft")
Limit = Literal["steps", "supervised_tokens", "target_forward_tokens", "flops", "seconds"]
# "jsonl" is draftmark's own tracker, the others are Accelerate's.
Tracker = Literal[
    "jsonl",
    "aim",
    "clearml",
    "comet_ml",
    "dvclive",
    "mlflow",
    "swanlab",
    "tensorboard",
    "trackio",
    "wandb",
]


_HEADS = ("shared", "copied", "fitted")  # of a pruned or random draft


class DraftInit(Section):
    """The initial weights of a draft: a model, layers of the target, random weights, or a head.

    A pruned draft's `head` is the target's embedding and head, `shared` (not trained) or `copied`
    (trained). `fitted` fits the head to the draft's body in closed form (not trained). Alone,
    `head` names a trained feature head: a folder, or ORGANISATION/NAME@REVISION on the hub.
    `vocabulary` "shared" lets a model have another tokenizer than its target: it drafts the tokens
    that both have.
    """

    model: str | None = None
    pruned: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    random: Mapping[str, Any] | None = None
    head: str = "copied"
    # At its default the key is left out of dumps, which are as before the key.
    vocabulary: Literal["same", "shared"] = Field("same", exclude_if=lambda value: value == "same")

    @model_validator(mode="after")
    def _exactly_one(self) -> "DraftInit":
        given = [name for name in ("model", "pruned", "random") if getattr(self, name) is not None]
        if len(given) > 1 or (not given and "head" not in self.model_fields_set):
            raise ValueError(
                f"needs exactly one of model, pruned, random, head; got {given or 'none'}"
            )
        if given and self.head not in _HEADS:
            raise ValueError(
                f"head of a draft with {given[0]} must be {', '.join(_HEADS)}, not {self.head!r}; "
                f"a trained head stands alone, without {given[0]}"
            )
        if not given and self.head in (*_HEADS, ""):
            raise ValueError(
                f"head = {self.head!r} needs pruned or random; for a trained head name its folder "
                "(./FOLDER), or ORGANISATION/NAME@REVISION"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_layers(self) -> "DraftInit":
        if self.pruned is not None and not self.pruned:
            raise ValueError("pruned needs at least one layer index")
        if self.pruned is not None and len(set(self.pruned)) < len(self.pruned):
            raise ValueError("pruned must not name a layer twice")
        if self.pruned is None and self.head == "shared":
            raise ValueError("head = 'shared' needs a pruned draft")
        if self.model is not None and self.head == "fitted":
            raise ValueError("head = 'fitted' needs a pruned or random draft")
        if self.model is None and self.vocabulary == "shared":
            raise ValueError(
                "vocabulary = 'shared' needs model: every other draft has its target's vocabulary"
            )
        return self

    @property
    def trained_head(self) -> str | None:
        """The reference of a trained feature head; None for every other init."""
        return None if self.head in _HEADS else self.head

    @property
    def reference(self) -> str | None:
        """The model or trained head that the init names; None if it is cut from the target."""
        return self.model or self.trained_head

    def key_settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights, as JSON, without the names of models."""
        settings = self.model_dump(mode="json", exclude={"model"})
        return settings if self.trained_head is None else {**settings, "head": "trained"}

    def describe(self) -> str:
        """Return the init in words, for reports."""
        if self.pruned is not None:
            layers = ", ".join(map(str, self.pruned))
            return f"layers {layers} of the target, head {self.head}"
        if self.model is not None:
            shared = ", shared vocabulary" if self.vocabulary == "shared" else ""
            return f"model {self.model}{shared}"
        if self.trained_head is not None:
            return f"head {self.trained_head}"
        fitted = ", head fitted" if self.head == "fitted" else ""
        return f"random weights, {dict(self.random or {})}{fitted}"


class Budget(Section):
    """The budget of all trainings of a method, in exactly one quantity of its ledger.

    `flops` are the ledger's estimate. `target_forward_tokens` include those that the target read to
    write texts and as teacher, before training. Training on fixed text adds none, so `passes` end
    it. `seconds` count training steps without validation; they depend on the machine, so repeating
    or resuming a training gives other weights.
    """

    steps: Count | None = None
    supervised_tokens: Count | None = None
    target_forward_tokens: Count | None = None
    flops: Annotated[float, Field(gt=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Budget":
        if len(given := self._given()) != 1:
            got = ", ".join(given) or "none"
            raise ValueError(f"needs exactly one of {', '.join(get_args(Limit))}; got {got}")
        return self

    def _given(self) -> dict[Limit, float]:
        values = {name: getattr(self, name) for name in get_args(Limit)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def limit(self) -> Limit:
        """The recipe key of the limited quantity."""
        return next(iter(self._given()))

    @property
    def amount(self) -> float:
        """The limit in units of the limited quantity."""
        return self._given()[self.limit]

    @property
    def quantity(self) -> str:
        """The ledger's name of the limited quantity."""
        return "train_s" if self.limit == "seconds" else self.limit


class Optimisation(Section):
    """How weights are trained: passes over the rows in steps of AdamW.

    `budget` replaces `passes` as the end of training. `beta2` is AdamW's decay of the second
    moment. `validations` is the number of checkpoints that are compared. With `patience`, training
    ends after that many validations in a row without a better one. `processes` share the rows of
    each step, each on its own GPU if the machine has GPUs. `trackers` log the training. With
    `lora`, adapters train in place of the weights, and are added to them at the end. A process
    reads the rows of a step `rows_at_once`, all by default, and adds their gradients up. With
    `gradient_checkpointing`, layers are computed again in the backward pass. If `sharded`, each
    process keeps a part of every layer, of its gradients and of their moments.
    """

    passes: Annotated[float, Field(gt=0)] = 1.0
    budget: Annotated[Budget | None, NoneIfFalse] = None
    rows_per_batch: Count = 8
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    warmup_fraction: Fraction = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.95
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    validations: Count = 4
    # Without them and the last four, the dump of a recipe is as it was before these keys.
    patience: Annotated[Count | None, NoneIfFalse] = Field(
        default=None, exclude_if=lambda patience: patience is None
    )
    processes: Count = 1
    trackers: tuple[Tracker, ...] = ()
    lora: Annotated[Lora | None, NoneIfFalse, AfterValidator(without_rank_zero)] = Field(
        default=None, exclude_if=lambda lora: lora is None
    )
    rows_at_once: Annotated[Count | None, NoneIfFalse] = Field(
        default=None, exclude_if=lambda rows: rows is None
    )
    gradient_checkpointing: bool = Field(default=False, exclude_if=lambda wanted: not wanted)
    sharded: bool = Field(default=False, exclude_if=lambda wanted: not wanted)

    @model_validator(mode="after")
    def _has_processes_to_shard(self) -> "Optimisation":
        if self.sharded and self.processes == 1:
            raise ValueError("sharded = true spreads layers over processes; set processes to 2 up")
        return self

    def key_settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights, as JSON.

        What splits the work and what keeps states or activations is left out: like threads, it
        only changes the order of floating-point sums. The inputs of a draft show whether states
        were stored.
        """
        kept = {"features", "rows_at_once", "gradient_checkpointing", "sharded"}
        return self.model_dump(mode="json", exclude={"processes", "trackers", *kept})


class FineTuning(Optimisation):
    """How a target is fine-tuned on the task's gold answers, before drafts are made for it.

    The defaults are AdaSPEC's for its targets (Hu et al. 2025, arXiv 2510.19779): `run_train.sh` of
    branch gsm8k-target-phi2 at bf0a107, in https://github.com/yuezhouhu/adaspec, and where the
    script sets nothing, those of transformers' Trainer. The checkpoint with the lowest validation
    loss is kept.
    """

    passes: Annotated[float, Field(gt=0)] = 3.0  # 6 in branch gsm8k-target-pythia-1.4b
    rows_per_batch: Count = 16  # 2 on each of 8 GPUs
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    warmup_fraction: Fraction = 0.0  # the Trainer's
    schedule: Literal["cosine", "constant"] = "constant"
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999  # the Trainer's
    clip_norm: Annotated[float, Field(gt=0)] = 1.0  # the Trainer's
    validations: Count = 3  # after every pass

    @model_validator(mode="after")
    def _has_no_teacher(self) -> "FineTuning":
        if self.budget and self.budget.limit == "target_forward_tokens":
            raise ValueError(
                "budget: fine-tuning trains the target and has no target_forward_tokens; "
                "use steps, supervised_tokens, flops or seconds"
            )
        return self


class Pair(Section):
    """A target and the init of its drafts.

    `placement`: the target is on a single device, or spread by memory over all GPUs, the processor
    and the disk (auto), where a table limits what its weights take of a device.
    """

    name: str
    target: str
    fine_tune: FineTuning | None = None  # of the target, before it is used for anything else
    draft: DraftInit
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # of training
    trust_remote_code: bool = False
    # At its default, the dump of a recipe is as it was before this key.
    placement: TargetPlacement = Field(default="single", exclude_if=lambda given: given == "single")

    @model_validator(mode="after")
    def _trains_whole(self) -> "Pair":
        if self.fine_tune and self.memory is not None and not self.fine_tune.sharded:
            raise ValueError(
                f"placement = {self.placement!r} spreads the target to read it, and fine_tune "
                "trains it, with its gradients and moments on one device; set fine_tune.sharded = "
                "true with several processes, or leave one of them out"
            )
        return self

    @property
    def memory(self) -> tuple[tuple[str, str], ...] | None:
        """The limits of a target that is spread over devices; None for one on a single device."""
        return memory_limits(self.placement)


class Training(Optimisation):
    """How drafts are trained, for every method unless its entry overrides a key.

    `text` is the training text: gold answers (`dataset`), the target's responses (`target`), text
    that the draft writes as it learns (`draft`: on-policy), or a `mixture` of these by shares. With
    a mixture, each step draws one writer for its rows (Agarwal et al. 2024, GKD, arXiv 2306.13649,
    algorithm 1, whose lambda is the share of on-policy text). `features`: the target's states on
    texts that are there before training are stored on disk once, or computed in every step (live).
    With `learning_rates`, the first seed's draft is trained with each, and the best on validation
    is kept; the other seeds train at its rate.
    """

    text: Literal["dataset", "target", "draft", "mixture"] = "dataset"
    text_temperature: Annotated[float, Field(ge=0)] = 1.0
    mixture: Mapping[Writer, Fraction] = Field(default_factory=dict)
    # At its default, the dump of a recipe is as it was before this key.
    features: Features = Field(default="stored", exclude_if=lambda given: given == "stored")
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(), exclude_if=lambda rates: not rates
    )

    @model_validator(mode="after")
    def _learning_rates_differ(self) -> "Training":
        if len(set(self.learning_rates)) < len(self.learning_rates):
            raise ValueError("learning_rates must not name a rate twice")
        return self

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "Training":
        if self.text != "mixture" and self.mixture:
            raise ValueError(
                f"mixture needs text = 'mixture', not {self.text!r}; set it, or leave mixture out"
            )
        if self.sharded and (self.text == "draft" or self.mixture.get("draft")):
            raise ValueError(
                "sharded = true keeps a part of the draft in each process, and text of the draft "
                "needs it whole in each; leave one of them out"
            )
        total = sum(self.mixture.values())
        if self.text == "mixture" and abs(total - 1) > 1e-6:
            raise ValueError(
                f"text = 'mixture' needs shares of {', '.join(WRITERS)} that sum to 1, such as "
                f"mixture = {{ dataset = 0.5, draft = 0.5 }}; they sum to {total:g}"
            )
        return self

    def trials(self) -> dict[float, "Training"]:
        """Return a training for each of the learning rates, by its rate."""
        return {rate: self.at(rate) for rate in self.learning_rates}

    def at(self, learning_rate: float) -> "Training":
        """Return the training with one of the learning rates."""
        return self.model_copy(update={"learning_rate": learning_rate, "learning_rates": ()})

    @property
    def shares(self) -> dict[Writer, float]:
        """The share of steps of each writer whose share is above 0."""
        given = self.mixture if self.text == "mixture" else {self.text: 1.0}
        return {writer: given[writer] for writer in WRITERS if given.get(writer)}

    @property
    def reads_live(self) -> bool:
        """True if the target reads texts in the step that were written before."""
        return self.features == "live" and set(self.shares) != {"draft"}

    @property
    def fixed_text(self) -> Writer:
        """The writer of the text that a head is fitted on: the target, else the data set."""
        return "target" if "target" in self.shares and "dataset" not in self.shares else "dataset"
