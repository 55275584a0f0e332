"""Measure what is deployed: any running OpenAI-compatible endpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from draftmark.cli.options import Data
from draftmark.errors import UserError
from draftmark.pipeline.publish import folder


def measure_server(
    url: Annotated[str, typer.Argument(help="Its base URL, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    task: Annotated[str, typer.Option(help="Whose prompts are sent.")] = "gsm8k",
    prompts: Annotated[int, typer.Option(min=2, help="How many test prompts.")] = 32,
    concurrency: Annotated[str, typer.Option(help="Requests at a time, like 1,4,16.")] = "1",
    blocks: Annotated[int, typer.Option(min=2, help="Blocks that the prompts are parted in.")] = 5,
    temperature: Annotated[float, typer.Option(min=0)] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Length limit of replies.")] = 256,
    against: Annotated[
        str | None, typer.Option(help="The same model served without a draft, for the speedup.")
    ] = None,
    key_variable: Annotated[
        str, typer.Option(help="The environment variable that holds a key, if one is needed.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="A JSON file for all facts.")] = None,
    data: Data = None,
) -> None:
    """Send a task's prompts to a server, read its counters: acceptance, times, speedup.

    Its counters (vLLM's names) are of all its traffic, so it must serve nothing else meanwhile.
    """
    from draftmark import registry
    from draftmark.data.rows import load_rows
    from draftmark.engines.measure.endpoint import Endpoint
    from draftmark.engines.measure.endpoint_load import Load, document, measure
    from draftmark.engines.measure.endpoint_report import lines, verdict
    from draftmark.grading.chat import read_key
    from draftmark.progress import Progress
    from draftmark.types import Arm

    key = read_key(key_variable, "endpoint")
    endpoints: dict[Arm, Endpoint] = {"draft": Endpoint(url, model, key)}
    if against:
        endpoints["target"] = Endpoint(against, model, key)
    sources, asked = ["directory"] if data else ["samples"], registry.find("tasks", task)
    rows = load_rows(asked, "test", prompts, sources=sources, directory=folder(data))
    runs, measured = [], []
    for at_a_time in _counts(concurrency):
        load = Load(at_a_time, blocks, max_tokens, temperature)
        found = measure(endpoints, rows.examples, load, Progress())
        typer.echo("\n".join(lines(found, load)))
        runs.append(document(found, endpoints, load))
        measured.append((load, found))
    for line in verdict(measured):
        typer.echo(line)
    if out:
        _save(out, {"task": task, "rows": rows.digest, "source": rows.source, "runs": runs})


def _save(out: Path, told: Mapping[str, Any]) -> None:
    import json

    out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    typer.echo(f"Written: {out}")


def _counts(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError(f"--concurrency {text!r} is no list of counts; write it like 1,4,16.")
    return found
