"""Results on disk: `results/<recipe>-<key>/`, named by what decided them, reports beside them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import UserError
from harness.protocols import Report
from harness.published import (
    Cell,
    Comparison,
    Contender,
    Finding,
    Number,
    Pooled,
    Result,
    Results,
    Standing,
)
from harness.store import write_json
from harness.types import Ledger

FILE = "results.json"


def save_results(results: Results, directory: Path) -> None:
    """Write results as JSON, in full or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / FILE, asdict(results))


def load_results(directory: Path) -> Results:
    """Return the results in a folder; raises UserError if there are none or they do not read."""
    path = directory / FILE
    if not path.is_file():
        raise UserError(f"{directory} has no {FILE}; name a folder that `draftmark run` printed.")
    try:
        document = json.loads(path.read_text("utf-8"))
        return Results(
            name=document["name"],
            title=document["title"],
            recipe=document["recipe"],
            results=tuple(_result(item) for item in document["results"]),
            pooled=tuple(_pooled(item) for item in document["pooled"]),
            comparisons=tuple(_comparison(item) for item in document["comparisons"]),
            standings=tuple(_standing(item) for item in document["standings"]),
            data=tuple(document["data"]),
            manifest=document["manifest"],
            findings=tuple(Finding(**item) for item in document["findings"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not read ({error}); run the recipe again.") from error


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of runs among some folders and directly below them, each once.

    Raises UserError if one of them neither is such a folder nor holds one.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        below = [folder] if (folder / FILE).is_file() else sorted(folder.glob(f"*/{FILE}"))
        if not below:
            raise UserError(f"{folder} holds no {FILE}; name folders that `draftmark run` printed.")
        found |= dict.fromkeys(path if path == folder else path.parent for path in below)
    return list(found)


def _result(document: Mapping[str, Any]) -> Result:
    ledger = document["ledger"]
    return Result(
        cell=Cell(**document["cell"]),
        numbers=_numbers(document["numbers"]),
        ledger=Ledger(**ledger) if ledger else None,
        provenance=document["provenance"],
        failure=document["failure"],
        records=document["records"],
        speed_failures=document.get("speed_failures", {}),  # older results have none
        history=tuple(document.get("history", ())),
    )


def _numbers(document: Mapping[str, Any]) -> dict[str, Number]:
    return {name: Number(**number) for name, number in document.items()}


def _pooled(document: Mapping[str, Any]) -> Pooled:
    contender = Contender(**document["contender"])
    return Pooled(contender, tuple(document["seeds"]), _numbers(document["numbers"]))


def _comparison(document: Mapping[str, Any]) -> Comparison:
    parts = {
        "contender": Contender(**document["contender"]),
        "difference": Number(**document["difference"]),
    }
    return Comparison(**{**document, **parts})


def _standing(document: Mapping[str, Any]) -> Standing:
    return Standing(**{**document, "contender": Contender(**document["contender"])})


def render(results: Results, directory: Path, names: Sequence[str]) -> list[Path]:
    """Write the named reports into a folder and return their files."""
    return write(results, directory, [registry.find("reports", name) for name in names])


def write(results: Results, directory: Path, reports: Sequence[Report]) -> list[Path]:
    """Write reports into a folder, all of them or none, and return their files."""
    contents = {
        file: content for report in reports for file, content in report(results, directory).items()
    }
    for file, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_bytes(data)
    return [directory / file for file in contents]
