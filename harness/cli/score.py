"""Measure given drafts of a target on given prompts, without a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data, Full, Jobs, Out, Rule, StoreAt, Unsafe, split_names
from draftmark.cli.run import run_and_print
from draftmark.errors import UserError
from draftmark.types import MAX_GAMMA

Target = Annotated[str, typer.Argument(help="A folder, or a name of draftmark or of the hub.")]
Drafts = Annotated[
    list[str], typer.Argument(help="Models or trained heads, named as the target; lookup; suffix.")
]
Prompts = Annotated[
    Path | None, typer.Option(help="File of prompts: .jsonl, .json, .parquet, .csv, .txt.")
]
Task = Annotated[
    str | None, typer.Option(help="Task of the prompts; without a file, its sample rows.")
]
Engine = Annotated[
    str | None, typer.Option(help="Measure speed too: vllm, reference, transformers.")
]
Temperature = Annotated[str, typer.Option(help="Temperatures of the target.")]
BlockLength = Annotated[int, typer.Option(min=1, max=MAX_GAMMA, help="Drafted tokens in a row.")]
Longest = Annotated[
    int | None, typer.Option(min=1, help="Length limit of responses [default: the task's].")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first rows alone [default: all].")]


def score(
    target: Target,
    drafts: Drafts,
    prompts: Prompts = None,
    task: Task = None,
    engine: Engine = None,
    temperature: Temperature = "0,1",
    num_speculative_tokens: BlockLength = 4,
    max_new_tokens: Longest = None,
    limit: Limit = None,
    verification: Rule = "standard",
    out: Out = Path("results"),
    store: StoreAt = None,
    data: Data = None,
    jobs: Jobs = None,
    unsafe_code: Unsafe = False,
    full: Full = False,
) -> None:
    """Measure drafts as they are on your prompts: acceptance, the best draft, what to paste.

    It runs as a recipe, which is kept beside the results.
    """
    from draftmark.pipeline.publish import RunOptions
    from draftmark.pipeline.score import NAME, ScoreRequest, score_recipe
    from draftmark.progress import Progress

    request = ScoreRequest(
        target,
        drafts,
        prompts,
        task,
        split_names(engine) or (),
        _temperatures(temperature),
        num_speculative_tokens,
        max_new_tokens,
        limit,
        verification,
        data,
    )
    recipe = score_recipe(request, Progress())
    options = RunOptions(out, store, data, unsafe_code, jobs=jobs)
    files = [f"{NAME}.toml"]
    if not run_and_print(recipe, NAME, options, full, verification=verification, also=files):
        raise typer.Exit(1)


def _temperatures(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"--temperature {text!r} is not a list of numbers; write it like 0,1."
        ) from None
