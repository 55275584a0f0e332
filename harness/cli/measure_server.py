"""Measure a running OpenAI-compatible endpoint."""

from pathlib import Path
from typing import Annotated

import typer

from draftmark.cli.options import Data
from draftmark.cli.terminal import echo, echo_lines
from draftmark.errors import UserError
from draftmark.pipeline.publish import data_folder


def measure_server(
    url: Annotated[str, typer.Argument(help="Base URL, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="The server's name of the model.")],
    task: Annotated[str, typer.Option(help="The task whose prompts are sent.")] = "gsm8k",
    prompts: Annotated[int, typer.Option(min=2, help="Number of test prompts.")] = 32,
    concurrency: Annotated[str, typer.Option(help="Requests at a time, like 1,4,16.")] = "1",
    blocks: Annotated[int, typer.Option(min=2, help="Number of blocks of prompts.")] = 5,
    temperature: Annotated[float, typer.Option(min=0)] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Length limit of replies.")] = 256,
    against: Annotated[
        str | None, typer.Option(help="URL of the same model without a draft, for the speedup.")
    ] = None,
    key_variable: Annotated[
        str, typer.Option(help="Environment variable with the key, if the server needs one.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for all facts.")] = None,
    data: Data = None,
) -> None:
    """Send a task's prompts to a server and read its counters: acceptance, times, speedup.

    The counters (vLLM's names) cover all traffic, so the server must serve nothing else meanwhile.
    """
    from draftmark import registry
    from draftmark.data.rows import load_rows
    from draftmark.engines.measure import endpoint_load as measure
    from draftmark.engines.measure.endpoint import Endpoint
    from draftmark.grading.http_client import HttpClient, read_key
    from draftmark.progress import Progress
    from draftmark.store.files import write_json
    from draftmark.types import Arm

    key = read_key(key_variable, "endpoint")
    urls: dict[Arm, str | None] = {"draft": url, "target": against}
    endpoints = {
        arm: Endpoint(HttpClient(at, key, timeout_s=600), model) for arm, at in urls.items() if at
    }
    found, sources = registry.find_registered("tasks", task), ["directory" if data else "samples"]
    rows = load_rows(found, "test", prompts, sources=sources, directory=data_folder(data))
    runs = []
    for at_a_time in _counts(concurrency):
        load = measure.Load(at_a_time, blocks, max_tokens, temperature)
        arms = measure.measure_endpoint(endpoints, rows.examples, load, Progress())
        runs.append((load, arms))
        echo_lines(measure.measurement_lines(arms, load))
    echo_lines(measure.verdict_lines(runs))
    if out:
        measured = [measure.to_json(arms, endpoints, load) for load, arms in runs]
        facts = {"task": task, "rows": rows.digest, "source": rows.source, "runs": measured}
        write_json(out, facts)
        echo(f"Written: {out}")


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UserError(f"--concurrency {text!r} is not a list of counts; write it like 1,4,16.")
    return counts
