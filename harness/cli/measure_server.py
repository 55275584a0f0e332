"""Measure a running OpenAI-compatible endpoint."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from draftmark.cli.options import Data
from draftmark.cli.terminal import echo, echo_lines, echo_written
from draftmark.errors import UserError
from draftmark.pipeline.publish import data_folder, writable_folder
from draftmark.types import MAX_GAMMA

if TYPE_CHECKING:
    from draftmark.data.rows import Rows
    from draftmark.engines.measure.endpoint import Endpoint
    from draftmark.engines.measure.endpoint_load import Blocks, Load, Measurement
    from draftmark.pipeline.served_run import Runs, ServedRun
    from draftmark.results import Results
    from draftmark.types import Arm, Example, Task

MEASURED = "measured.json"  # all facts of the last measurement, in a run's folder


def measure_server(
    url: Annotated[str, typer.Argument(help="Base URL, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[
        str | None,
        typer.Option(help="A name of the model at the server [default: the only one there]."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The task whose prompts are sent [default: gsm8k; prompts for a file]."),
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="Number of the task's first test prompts, or a file of prompts.")
    ] = "32",
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
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one whole request.")] = 600,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for a run that reports read, or a JSON file of facts."),
    ] = None,
    label: Annotated[str, typer.Option(help="Name of the server's draft in the run.")] = "served",
    num_speculative_tokens: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_GAMMA, help="Drafted tokens, where the server does not say."),
    ] = None,
    data: Data = None,
) -> None:
    """Send a task's prompts to a server and read its counters: acceptance, times, speedup.

    Counts come with each reply (vLLM, SGLang, llama.cpp) or from vLLM's page of metrics. The latter
    cover all traffic, so the server must serve nothing else meanwhile.
    """
    from draftmark.engines.measure.endpoint_load import Load
    from draftmark.pipeline.served_run import ServedRun

    loads = [Load(at_once, blocks, max_tokens, temperature) for at_once in _counts(concurrency)]
    found, rows = _prompts(task, prompts, data)
    kept = _Kept(out, {"task": found.name, "rows": rows.digest, "source": rows.source})
    endpoints = _endpoints({"draft": url, "target": against}, model, key_variable, timeout)
    run = ServedRun(endpoints["draft"], found, rows, label, loads, num_speculative_tokens)
    _measure_loads(run, endpoints, kept)


def _prompts(task: str | None, prompts: str, data: Path | None) -> tuple[Task, Rows]:
    """Return a task and its first test rows, or those of a file; `prompts` says which."""
    from draftmark import registry
    from draftmark.config.sections import TaskRows
    from draftmark.data.own_rows import task_with_rows
    from draftmark.data.rows import load_all_rows, load_rows

    if not prompts.isdecimal():
        found = registry.find_registered("tasks", task or "prompts")
        of_file = task_with_rows(found, TaskRows(file=prompts))
        return of_file, load_all_rows(of_file, "test")
    if (count := int(prompts)) < 2:
        raise UserError(f"--prompts {prompts} is too few for an interval; take 2 or more.")
    found, sources = registry.find_registered("tasks", task or "gsm8k"), ["samples"]
    sources = ["directory"] if data else sources
    return found, load_rows(found, "test", count, sources=sources, directory=data_folder(data))


def _endpoints(
    urls: Mapping[Arm, str | None], model: str | None, key_variable: str, timeout: float
) -> dict[Arm, Endpoint]:
    """Return the endpoints of the URLs that are given; the key is that of all."""
    from draftmark.engines.measure.endpoint import Endpoint
    from draftmark.grading.http_client import HttpClient, read_key

    key = read_key(key_variable, "endpoint")
    clients = {arm: HttpClient(url, key, timeout) for arm, url in urls.items() if url}
    return {arm: Endpoint.find(client, model) for arm, client in clients.items()}


def _measure_loads(run: ServedRun, endpoints: Mapping[Arm, Endpoint], kept: _Kept) -> None:
    """Measure under each load, print the lines of each, and write what was measured."""
    from draftmark.engines.measure import endpoint_lines

    before, runs = _before(run, kept.folder), []
    with kept.named_in_errors():
        for load in run.loads:
            runs.append((load, _measure(endpoints, run.rows.examples, load, kept)))
            echo_lines(endpoint_lines.measurement_lines(runs[-1][1], load))
    echo_lines(endpoint_lines.verdict_lines(runs))
    if kept.folder:
        with kept.named_in_errors():
            _publish(run, runs, kept.folder, before)
    elif kept.path:
        echo(f"Written: {kept.path}")


def _before(run: ServedRun, folder: Path | None) -> Results | None:
    """Return the results of a folder that the run joins; raises UserError if it cannot."""
    from draftmark.pipeline.served_run import check_folder

    return check_folder(run, folder) if folder else None


def _publish(run: ServedRun, measured: Runs, folder: Path, before: Results | None) -> None:
    """Write the run's folder and print its answer."""
    from draftmark.pipeline.render import render_reports
    from draftmark.pipeline.served_run import save_served

    results = save_served(run, measured, folder, before)
    shown, board = render_reports(results, folder, ["answer", "leaderboard"])
    echo(shown.read_text(encoding="utf-8").removesuffix("\n"))
    echo_written(folder, [board.name, "results.json"])


def _measure(
    endpoints: Mapping[Arm, Endpoint], examples: Sequence[Example], load: Load, kept: _Kept
) -> dict[Arm, Measurement]:
    """Return the measurements under a load, and keep them, block by block."""
    from draftmark.engines.measure import endpoint_load
    from draftmark.progress import Progress

    def keep(blocks: Blocks) -> None:
        kept.write(unfinished=endpoint_load.blocks_to_json(blocks, endpoints, load))

    arms = endpoint_load.measure_endpoint(endpoints, examples, load, Progress(), keep)
    kept.add(endpoint_load.to_json(arms, endpoints, load))
    return arms


class _Kept:
    """The file of --out: after each block it has all that was measured.

    A path that ends with .json is the file; any other is the `folder` of a run, which holds it.
    """

    def __init__(self, out: Path | None, facts: Mapping[str, Any]) -> None:
        """Raise UserError, before anything is measured, if the file cannot be written."""
        self.folder = out if out and out.suffix != ".json" else None
        self.path = writable_folder(self.folder) / MEASURED if self.folder else out
        self._document: dict[str, Any] = {**facts, "runs": []}
        self._is_written = False
        if self.path:
            _check_writable(self.path)

    def write(self, **more: Any) -> None:
        """Write the finished runs, and `more`."""
        from draftmark.store.files import write_json

        if self.path:
            write_json(self.path, {**self._document, **more})
            self._is_written = True

    def add(self, run: Mapping[str, Any]) -> None:
        """Add a finished run, and write."""
        self._document["runs"].append(run)
        self.write()

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Name the file in a UserError of the block, if the file has anything."""
        try:
            yield
        except UserError as error:
            if not self._is_written:
                raise
            raise UserError(f"{error} What was measured before is in {self.path}.") from error


def _check_writable(path: Path) -> None:
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise UserError(
            f"--out {path} cannot be written ({error.strerror}); name a file in a folder that you "
            "can write."
        ) from error


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UserError(f"--concurrency {text!r} is not a list of counts; write it like 1,4,16.")
    return counts
