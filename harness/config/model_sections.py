"""The sections of a recipe that make models: pairs, draft inits, how weights are trained."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from draftmark.config.sections import Count, Fraction
from draftmark.config.validation import Section, UnlessFalse

Writer = Literal["dataset", "target", "draft"]
WRITERS: tuple[Writer, ...] = ("dataset", "target", "draft")
Limit = Literal["steps", "supervised_tokens", "target_forward_tokens", "flops", "seconds"]
# "jsonl" is our own, the others are Accelerate's.
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


class DraftInit(Section):
    """What a draft starts as: a model, some layers of the target, or random weights.

    `head`: of a pruned draft, the target's embedding and head, `shared` (not trained) or `copied`
    (trained); `fitted` to the draft's body in closed form on the training text (not trained).
    """

    model: str | None = None
    pruned: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    random: Mapping[str, Any] | None = None
    head: Literal["shared", "copied", "fitted"] = "copied"

    @model_validator(mode="after")
    def _exactly_one(self) -> "DraftInit":
        given = [name for name in ("model", "pruned", "random") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of model, pruned, random; got {given or 'none'}")
        if self.pruned is not None and not self.pruned:
            raise ValueError("pruned needs at least one layer index")
        if self.pruned is not None and len(set(self.pruned)) < len(self.pruned):
            raise ValueError("pruned names a layer twice")
        if self.pruned is None and self.head == "shared":
            raise ValueError("head = 'shared' is for pruned drafts only")
        if self.model is not None and self.head == "fitted":
            raise ValueError("head = 'fitted' is for pruned and random drafts only")
        return self

    def describe(self) -> str:
        """Return the init in words, as reports print it."""
        if self.pruned is not None:
            layers = ", ".join(map(str, self.pruned))
            return f"layers {layers} of the target, head {self.head}"
        if self.model is not None:
            return f"model {self.model}"
        fitted = ", head fitted" if self.head == "fitted" else ""
        return f"random weights, {dict(self.random or {})}{fitted}"


class Budget(Section):
    """What a method may spend in all, in a quantity of its ledger: exactly one.

    `supervised_tokens` and `steps` are of all its trainings, `flops` the ledger's estimate.
    `target_forward_tokens` counts what the target read before training as well, to write texts
    and as teacher; text that was there before costs it nothing more, so there `passes` end the
    training. `seconds` are of training steps, without validation; they depend on the machine, so
    neither a repetition nor an interrupted training gives the same bits.
    """

    steps: Count | None = None
    supervised_tokens: Count | None = None
    target_forward_tokens: Count | None = None
    flops: Annotated[float, Field(gt=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Budget":
        if len(given := self._given()) != 1:
            told = ", ".join(given) or "none"
            raise ValueError(f"needs exactly one of {', '.join(get_args(Limit))}; got {told}")
        return self

    def _given(self) -> dict[Limit, float]:
        values = {name: getattr(self, name) for name in get_args(Limit)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def limit(self) -> Limit:
        """Which of the quantities it is."""
        return next(iter(self._given()))

    @property
    def amount(self) -> float:
        """How much of it there is."""
        return self._given()[self.limit]

    @property
    def quantity(self) -> str:
        """What the ledger calls it."""
        return "train_s" if self.limit == "seconds" else self.limit


class Optimisation(Section):
    """How weights are trained: passes over the rows, and the steps of AdamW that they take.

    `budget`: instead of passes, what the method may spend in all. `beta2` is the memory of AdamW's
    second moment; `validations`: how often checkpoints compete. `processes` share every step's
    rows, on as many GPUs if there are any; `trackers` are told how it goes.
    """

    passes: Annotated[float, Field(gt=0)] = 1.0
    budget: Annotated[Budget | None, UnlessFalse] = None
    rows_per_batch: Count = 8
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    warmup_fraction: Fraction = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.95
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    validations: Count = 4
    processes: Count = 1
    trackers: tuple[Tracker, ...] = ()

    def deciding(self) -> dict[str, Any]:
        """Return what decides the weights, as JSON.

        Like threads and the machine, `processes` change the order in which numbers are added, and
        no more than that.
        """
        return self.model_dump(mode="json", exclude={"processes", "trackers"})


class FineTuning(Optimisation):
    """How a target is fine-tuned on the task's gold answers before drafts are made for it.

    The defaults are AdaSPEC's for its targets (Hu et al. 2025, arXiv 2510.19779): `run_train.sh` of
    branch gsm8k-target-phi2 at bf0a107, in https://github.com/yuezhouhu/adaspec. What the script
    does not say is as transformers' Trainer, which it calls, has it. The checkpoint of the lowest
    validation loss is kept.
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
    def _is_no_teacher(self) -> "FineTuning":
        if self.budget and self.budget.limit == "target_forward_tokens":
            raise ValueError(
                "budget: fine-tuning has no target_forward_tokens, the target is what is trained; "
                "take steps, supervised_tokens, flops or seconds"
            )
        return self


class Pair(Section):
    """A target and what its drafts start as. `dtype` is what training computes in.

    `fine_tune`: train the target on the task first; it is then the target of everything.
    """

    name: str
    target: str
    fine_tune: FineTuning | None = None
    draft: DraftInit
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    trust_remote_code: bool = False


class Training(Optimisation):
    """How drafts are trained; the same for every method unless the method says otherwise.

    `text`: what the draft reads. Gold answers (`dataset`), the target's own responses (`target`),
    what the draft itself writes as it learns (`draft`: on-policy), or a `mixture` of these by their
    shares: a step's rows are all of one writer, drawn anew for each step (Agarwal et al. 2024, GKD,
    arXiv 2306.13649, algorithm 1: the share of on-policy text is its lambda).
    """

    text: Literal["dataset", "target", "draft", "mixture"] = "dataset"
    text_temperature: Annotated[float, Field(ge=0)] = 1.0
    mixture: Mapping[Writer, Fraction] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "Training":
        if self.text != "mixture" and self.mixture:
            raise ValueError(
                f"mixture is given, but text = {self.text!r}; say text = 'mixture', or leave "
                "mixture = {}"
            )
        total = sum(self.mixture.values())
        if self.text == "mixture" and abs(total - 1) > 1e-6:
            raise ValueError(
                f"text = 'mixture' needs shares of {', '.join(WRITERS)} that sum to 1, such as "
                f"mixture = {{ dataset = 0.5, draft = 0.5 }}; they sum to {total:g}"
            )
        return self

    @property
    def shares(self) -> dict[Writer, float]:
        """The share of steps that read each writer's texts, of those that have one."""
        given = self.mixture if self.text == "mixture" else {self.text: 1.0}
        return {writer: given[writer] for writer in WRITERS if given.get(writer)}

    @property
    def fixed_text(self) -> Writer:
        """What a head is fitted on: the first text that is there before training, else gold."""
        return "target" if "target" in self.shares and "dataset" not in self.shares else "dataset"
