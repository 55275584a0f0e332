"""The provenance of a report's numbers: definitions, machines, versions, rows and models."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from draftmark.analysis.gate.made_by import draft_files
from draftmark.reports._shared.content import escape_markdown
from draftmark.reports._shared.rows import seeds_by_task
from draftmark.results import Results


def definitions_by_name(runs: Iterable[Results]) -> dict[str, dict[str, None]]:
    """Return the definitions of each name (a number's key without brackets), sorted by name."""
    known: dict[str, dict[str, None]] = {}
    for row in chain.from_iterable(run.results for run in runs):
        for key, number in row.numbers.items():
            known.setdefault(key.partition("[")[0], {})[number.definition] = None
    return dict(sorted(known.items()))


def definitions_section(results: Results) -> str:
    """Return the Markdown section of definitions; empty if there are no numbers."""
    known = definitions_by_name([results])
    listed = [f"- `{name}`: {escape_markdown('; '.join(texts))}" for name, texts in known.items()]
    return "## Definitions\n\n" + "\n".join(listed) if listed else ""


def manifest_section(results: Results) -> str:
    """Return the Markdown section of machines, versions, rows and models."""
    return "## Manifest\n\n" + "\n".join(
        f"- {escape_markdown(line)}" for line in manifest_lines(results)
    )


def manifest_lines(results: Results) -> Iterator[str]:
    """Yield a line for each machine, version, row set and model."""
    for manifest in _manifests(results):
        yield from _machine(manifest)
    if project := results.manifest.get("project"):
        yield f"run in a project at commit {_commit(project)}"
    yield from _server(results)
    yield from _merged(results)
    yield f"seeds: {_seeds(results)}"
    for name, state in results.manifest.get("plugins", {}).items():
        at = f" at commit {_commit(state)}" if "commit" in state else ""
        yield f"plug-in package {name} {state['version']}{at}"
    for name, digest in results.manifest.get("code", {}).items():
        yield f"method {name}: code {digest[:12]}"
    for name, files in map(draft_files, results.results):
        if files:
            yield f"draft {name}: files {files[:12]}"
    for item in results.data:
        rows = ", ".join(f"{n} {split}" for split, n in item["rows"].items())
        yield (
            f"data: {item['task']} (version {item['task_version']}), {rows} rows, source: "
            f"{item['source']['test']}, test rows {item['digest']['test'][:12]}"
        )
        for reason in item.get("passed_over", ()):
            yield f"data: {item['task']}, passed over {reason}"
        yield (
            f"pair {item['pair']}: target {item['target']} ({_origin(item, 'target')}files "
            f"{item['target_digest'][:12]}){_fine_tuning(item)}, draft init {item['draft']}"
            f"{_draft_origin(item)}"
        )
        for name, own in item.get("drafts", {}).items():
            yield f"draft init of {name}: {own['draft']}{_own_origin(own.get('model', {}))}"


def _merged(results: Results) -> Iterator[str]:
    """Yield a line for each run of a merged result, with the cells that it made."""
    merged = results.manifest.get("merged", {"runs": ()})
    for run in merged["runs"] if len(merged["runs"]) > 1 else ():
        made: dict[str, set[int]] = {}
        for row in results.results:
            if row.provenance.get("run") == run["digest"]:
                cell = row.cell
                made.setdefault(f"{cell.method} on {cell.task}, {cell.pair}", set()).add(cell.seed)
        cells = (
            "{} (seed {})".format(name, ", ".join(map(str, sorted(s)))) for name, s in made.items()
        )
        git = run["manifest"]["git"]
        at = f" at commit {_commit(git)}" if git else ""
        yield f"run {run['digest'][:12]}, {run['title']}{at}: {'; '.join(cells)}"
    if reason := merged.get("left_out"):
        yield reason


def _server(results: Results) -> Iterator[str]:
    """Yield the line of a measured server."""
    if results.server is not None:
        named = (f"{name} {value}" for name, value in results.server.items() if value != "")
        yield f"server: {', '.join(named) or 'its software is not known'}"


def _origin(item: Mapping[str, Any], role: str) -> str:
    """Return where a model came from; empty if its name says it, or the results do not."""
    model = item.get("models", {}).get(role, {})
    scheme = f"quantised: {model['quantisation']}, " if model.get("quantisation") else ""
    named = model.get("source") in ("hub", "PyPI")
    return f"{model['source']} {model['name']}, {scheme}" if named else scheme


def _draft_origin(item: Mapping[str, Any]) -> str:
    origin = _origin(item, "draft").removesuffix(", ")
    return f" ({origin})" if origin else ""


def _own_origin(model: Mapping[str, Any]) -> str:
    return f" ({model['source']} {model['name']})" if model.get("source") == "hub" else ""


def _seeds(results: Results) -> str:
    by_task = {task: ", ".join(map(str, s)) for task, s in seeds_by_task(results.results).items()}
    if len(set(by_task.values())) == 1:
        return next(iter(by_task.values()))
    return "; ".join(f"{seeds} on {task}" for task, seeds in by_task.items())


def _fine_tuning(item: Mapping[str, Any]) -> str:
    """Return the training of a fine-tuned target in words; empty if it was not fine-tuned."""
    if not item.get("fine_tuning"):
        return ""
    ledger = item["fine_tuning"]["ledger"]
    return (
        f" fine-tuned on {item['task']}: {ledger['steps']} steps, {ledger['rows']} rows, "
        f"{ledger['supervised_tokens']} supervised tokens, {ledger['flops']:.2e} FLOPs (estimate), "
        f"{ledger['train_s']:.1f} s"
    )


def _manifests(results: Results) -> list[Mapping[str, Any]]:
    """Return the distinct manifests of the stored stages; this run's manifest if there are none."""
    stages = (entry for row in results.results for entry in row.provenance.get("entries", ()))
    found = {
        json.dumps(entry["manifest"], sort_keys=True): entry["manifest"]
        for entry in stages
        if entry["manifest"]
    }
    return list(found.values()) or [results.manifest]


def _machine(manifest: Mapping[str, Any]) -> Iterator[str]:
    hardware, git = manifest["hardware"], manifest["git"]
    accelerators = ", ".join(hardware["accelerators"]) or "no accelerator"
    threads = f", threads used: {manifest['threads']}" if manifest.get("threads") else ""
    yield f"machine: {hardware['processor']}, {hardware['cores']} cores{threads}, {accelerators}"
    versions = (f"{name} {value}" for name, value in manifest["versions"].items() if value)
    yield f"versions: {', '.join(versions)}"
    yield f"commit: {_commit(git) if git else 'not a git checkout'}"


def _commit(git: Mapping[str, Any]) -> str:
    return f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}"
