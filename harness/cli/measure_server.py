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
from draftmark.cli.terminal import echo, echo_lines
from draftmark.errors import UserError
from draftmark.pipeline.publish import data_folder

if TYPE_CHECKING:
    from draftmark.engines.measure.endpoint import Endpoint
    from draftmark.engines.measure.endpoint_load import Blocks, Load, Measurement
    from draftmark.types import Arm, Example


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
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one whole request.")] = 600,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for all facts.")] = None,
    data: Data = None,
) -> None:
    """Send a task's prompts to a server and read its counters: acceptance, times, speedup.

    The counters (vLLM's names) cover all traffic, so the server must serve nothing else meanwhile.
    """
    from draftmark import registry
    from draftmark.data.rows import load_rows
    from draftmark.engines.measure import endpoint_lines as lines
    from draftmark.engines.measure import endpoint_load as measure
    from draftmark.engines.measure.endpoint import Endpoint
    from draftmark.grading.http_client import HttpClient, read_key

    loads = [
        measure.Load(at_once, blocks, max_tokens, temperature) for at_once in _counts(concurrency)
    ]
    key = read_key(key_variable, "endpoint")
    urls: dict[Arm, str | None] = {"draft": url, "target": against}
    endpoints = {
        arm: Endpoint(HttpClient(at, key, timeout), model) for arm, at in urls.items() if at
    }
    found, sources = registry.find_registered("tasks", task), ["directory" if data else "samples"]
    rows = load_rows(found, "test", prompts, sources=sources, directory=data_folder(data))
    kept = _Kept(out, {"task": task, "rows": rows.digest, "source": rows.source})
    runs = []
    with kept.named_in_errors():
        for load in loads:
            runs.append((load, _measure(endpoints, rows.examples, load, kept)))
            echo_lines(lines.measurement_lines(runs[-1][1], load))
    echo_lines(lines.verdict_lines(runs))
    if out:
        echo(f"Written: {out}")


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
    """The file of --out: after each block it has all that was measured."""

    def __init__(self, path: Path | None, facts: Mapping[str, Any]) -> None:
        """Raise UserError, before anything is measured, if the file cannot be written."""
        self._path, self._document = path, {**facts, "runs": []}
        self._is_written = False
        if path:
            _check_writable(path)

    def write(self, **more: Any) -> None:
        """Write the finished runs, and `more`."""
        from draftmark.store.files import write_json

        if self._path:
            write_json(self._path, {**self._document, **more})
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
            raise UserError(f"{error} What was measured before is in {self._path}.") from error


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
