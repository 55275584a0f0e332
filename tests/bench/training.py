"""What training a draft costs: draftmark, TRL's GKD trainer, and a plain transformers Trainer.

The same pair, the same token ids and supervised tokens, the same number of steps of AdamW on
batches of as many rows, all weights of the draft trained. All arms compute in float32, or in
bfloat16 by autocast (`--dtype`). Off-policy: forward KL on gold answers (TRL's beta 0). Each arm
runs in a process of its own, so that peak memory is its own. Time is from models loaded to draft
trained: of draftmark's arm it holds the target's one reading of the rows, which the others do in
every pass.

What a task's rows gain depends on the share of their tokens that are supervised: the others are
read by the draft's body alone. So there is a comparison for each of some tasks.

Then a sweep: five methods are trained in one process, the target reading the rows once for all of
them, beside what no training can do without: as many forward and backward passes of the draft over
the same batches, to the logits of the supervised positions and back, with no loss and no optimiser.
"""

import argparse
import json
import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.nn.functional import kl_div, log_softmax

from draftmark import registry
from draftmark.config.model_sections import DraftInit, Optimisation
from draftmark.data.prompts import encode_gold
from draftmark.data.rows import load_rows
from draftmark.models import hidden_states, supervised_positions
from draftmark.models.draft_inits import make_draft
from draftmark.models.dtype import resolve_dtype
from draftmark.models.files import end_tokens, resolve_model
from draftmark.models.language_model import (
    DEFAULT_PLACEMENT,
    LanguageModel,
    cast_weights,
    drop_body,
    load_model,
    load_tokenizer,
)
from draftmark.progress import Progress
from draftmark.training.batches import FixedTexts, Source, TrainingTexts
from draftmark.training.loop import TrainingContext
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.training.schedule import total_steps
from draftmark.training.validation import Criterion
from draftmark.types import Placement, Text
from tests.bench.frame import Comparison, Spent, in_own_process

IGNORED = -100  # the label of what is not supervised
UNJUDGED = Criterion("none", lambda _: 0.0)  # the others choose no checkpoint either
SWEEP = ("sft", "kd", "csd", "dld", "lk")


@dataclass(frozen=True)
class Bench:
    """A pair with fresh weights, and what the draft is trained on."""

    directory: Path
    target: LanguageModel
    draft: LanguageModel
    texts: Sequence[Text]
    settings: Optimisation
    dtype: str  # "float32" or "bfloat16"

    @property
    def num_tokens(self) -> int:
        """Supervised tokens of the whole training."""
        once = sum(len(text.response_ids) for text in self.texts)
        return round(once * self.settings.passes)


def prepare(told: argparse.Namespace, placement: Placement = DEFAULT_PLACEMENT) -> Bench:
    """Load a target, prune its draft and encode gold answers of the project's own rows."""
    directory = resolve_model(told.model, Progress())
    target, init = load_model(directory, placement), DraftInit(pruned=tuple(told.layers))
    return Bench(
        directory=directory,
        target=target,
        draft=make_draft(init, target, seed=0, placement=placement),
        texts=encoded(told, told.tasks[0]),
        settings=Optimisation(
            passes=told.passes, rows_per_batch=told.rows_per_batch, validations=1
        ),
        dtype=resolve_dtype(told.dtype),
    )


def encoded(told: argparse.Namespace, name: str) -> Sequence[Text]:
    """Return the gold answers of a task's rows, the project's own, as token ids."""
    directory = resolve_model(told.model, Progress())
    rows = load_rows(
        registry.find_registered("tasks", name), "train", told.rows, sources=["samples"]
    )
    return encode_gold(load_tokenizer(directory), rows.examples, end_tokens(directory))


def ours(bench: Bench, method: str = "kd", source: Source | None = None) -> None:
    """Train as a run does: the target reads the rows once, and then only its head is used."""
    with tempfile.TemporaryDirectory() as name:
        train_in(Path(name), bench, method, source)


def train_in(
    folder: Path,
    bench: Bench,
    method: str = "kd",
    source: Source | None = None,
    team: ProcessGroup = ALONE,
) -> None:
    """Train as `ours` does, in a folder that the processes of a team share."""
    with Progress(quiet=True).step("", 0) as step:
        source = source or read_once(bench, folder / f"features-{team.rank}")
        context = TrainingContext(
            draft=bench.draft,
            target=bench.target,
            settings=bench.settings,
            dtype=bench.dtype,
            seed=0,
            scratch=folder,
            step=step,
            texts=TrainingTexts({"dataset": source}, {"dataset": 1.0}, 0),
            criterion=UNJUDGED,
            team=team,
        )
        made = registry.find_registered("baselines", method)().train(context)
    assert made.ledger.supervised_tokens == bench.num_tokens


def read_once(bench: Bench, folder: Path) -> FixedTexts:
    """Return the rows with the target's hidden states; its body is dropped."""
    folder.mkdir()
    with Progress(quiet=True).step("", 0) as step:
        hidden_states.write_hidden_states(
            bench.target, bench.texts, folder, dtype="bfloat16", step=step
        )
    drop_body(bench.target)
    cast_weights(bench.target, bench.dtype)
    features = hidden_states.StoredHiddenStates.load(folder)
    return FixedTexts(features.texts, features)


def trl(bench: Bench) -> None:
    """Train by TRL's GKD trainer on what is there (lmbda 0), forward KL (beta 0)."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    told = arguments(bench)
    config = GKDConfig(lmbda=0.0, beta=0.0, disable_dropout=False, **told)
    trainer = GKDTrainer(
        model=bench.draft.model,
        teacher_model=bench.target.model,
        args=config,
        train_dataset=dataset(bench),
        data_collator=collate,
        processing_class=load_tokenizer(bench.directory),
    )
    trainer.train()


def plain(bench: Bench) -> None:
    """Train by transformers' Trainer with the usual loss: KL of all logits, then the mask."""
    from transformers import Trainer, TrainingArguments

    target = bench.target.model

    class Distiller(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, **_: Any) -> torch.Tensor:
            labels_BT = inputs.pop("labels")[:, 1:]
            with torch.no_grad():
                target_BTV = target(**inputs).logits[:, :-1]
            draft_BTV = model(**inputs).logits[:, :-1]
            laws = log_softmax(draft_BTV, -1), log_softmax(target_BTV, -1)
            loss_BT = kl_div(*laws, reduction="none", log_target=True).sum(-1)
            mask_BT = labels_BT != IGNORED
            return (loss_BT * mask_BT).sum() / mask_BT.sum()

    told = TrainingArguments(**arguments(bench), remove_unused_columns=False)
    Distiller(bench.draft.model, told, collate, dataset(bench)).train()


def arguments(bench: Bench) -> dict[str, Any]:
    """Return what both trainers are told; what is left out is their default."""
    settings = bench.settings
    return {
        "output_dir": tempfile.mkdtemp(),
        "num_train_epochs": settings.passes,
        "per_device_train_batch_size": settings.rows_per_batch,
        "learning_rate": settings.learning_rate,
        "bf16": bench.dtype == "bfloat16",
        "fp16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "no",
    }


def dataset(bench: Bench) -> Any:
    """Return the rows as trainers take them: ids, and labels of the responses."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "input_ids": [*text.prompt_ids, *text.response_ids],
                "labels": [IGNORED] * len(text.prompt_ids) + list(text.response_ids),
            }
            for text in bench.texts
        ]
    )


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Return rows as one batch, padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([[*row[name], *[value] * (longest - len(row[name]))] for row in rows])

    ids_BT = padded("input_ids", 0)
    lengths_B = torch.tensor([len(row["input_ids"]) for row in rows])
    mask_BT = (torch.arange(longest) < lengths_B[:, None]).long()
    return {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": padded("labels", IGNORED)}


def sweep(bench: Bench) -> None:
    """Train by every method of the sweep, from the same fresh weights."""
    init = {name: value.clone() for name, value in bench.draft.model.state_dict().items()}
    with tempfile.TemporaryDirectory() as name:
        source = read_once(bench, Path(name) / "features")
        for method in SWEEP:
            bench.draft.model.load_state_dict(init)
            ours(bench, method, source)


def passes_alone(bench: Bench) -> None:
    """Run as many forward and backward passes of the draft as the sweep, and nothing else."""
    texts = TrainingTexts({"dataset": FixedTexts(bench.texts)}, {"dataset": 1.0}, 0)
    for step in len(SWEEP) * list(range(total_steps(len(texts), bench.settings))):
        rows = texts.training_batch(step, bench.settings.rows_per_batch).texts
        with torch.autocast("cpu", torch.bfloat16, enabled=bench.dtype == "bfloat16"):
            states_BTD = bench.draft.hidden(
                *supervised_positions.right_padded(rows, bench.draft.device)
            )
            logits_NV = bench.draft.logits(
                torch.cat(list(supervised_positions.select_supervised(rows, states_BTD)))
            )
        logits_NV.backward(torch.ones_like(logits_NV))
        bench.draft.model.zero_grad()


ARMS: dict[str, Callable[[Bench], None]] = {
    "draftmark": ours,
    "TRL, GKD trainer": trl,
    "transformers, plain Trainer": plain,
}
SWEEPS: dict[str, Callable[[Bench], None]] = {
    "draftmark, five methods": sweep,
    "five times the draft's passes alone": passes_alone,
}


def measure(bench: Bench, arm: Callable[[Bench], None]) -> Spent:
    """Run an arm in this process; its peak memory includes the loaded models."""
    trainings = len(SWEEP) if arm in SWEEPS.values() else 1
    started = perf_counter()
    arm(bench)
    seconds = perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Spent(seconds, trainings * bench.num_tokens, peak)


def comparisons(words: Sequence[str] = ()) -> list[Comparison]:
    """Return a comparison of trainers and one of a sweep for each task, with options as words."""
    told = options().parse_args(words)
    found = []
    for task in told.tasks:
        dtype = resolve_dtype(told.dtype)
        facts = {"clock": "seconds", **vars(told), "dtype": dtype, "tasks": [task]}
        arms = {
            name: in_own_process("tests.bench.training", *words, "--tasks", task, "--arm", name)
            for name in ARMS | SWEEPS
        }
        trainers, sweeps = ({name: arms[name] for name in names} for names in (ARMS, SWEEPS))
        found += [
            Comparison(
                f"training on {task}",
                lambda trainers=trainers: trainers,
                facts,
                "tokens",
                speed_goals=dict.fromkeys(list(ARMS)[1:], 3.0),
                memory_goals=dict.fromkeys(list(ARMS)[1:], 0.5),
            ),
            Comparison(
                f"sweep on {task}",
                lambda sweeps=sweeps: sweeps,
                facts,
                "tokens",
                speed_goals=dict.fromkeys(list(SWEEPS)[1:], 1 / 1.25),
            ),
        ]
    return found


def options() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench training", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2, 3], help="of the draft")
    parser.add_argument("--tasks", nargs="+", default=["gsm8k"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "auto"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--rows-per-batch", type=int, default=4)
    parser.add_argument("--passes", type=float, default=4)
    parser.add_argument("--arm", choices=ARMS | SWEEPS, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run one arm, and print what it took as JSON."""
    told = options().parse_args()
    torch.set_num_threads(told.threads)
    print(json.dumps(asdict(measure(prepare(told), (ARMS | SWEEPS)[told.arm]))))


if __name__ == "__main__":
    main()
