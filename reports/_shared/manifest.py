"""What a report's numbers rest on: machines, versions, rows, models."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from draftmark.reports._shared.markdown import escape
from draftmark.reports._shared.rows import seeds_of
from draftmark.results import Results


def manifest(results: Results) -> str:
    """Return the section on machines, versions, rows and models."""
    return "## Manifest\n\n" + "\n".join(f"- {escape(line)}" for line in facts(results))


def facts(results: Results) -> Iterator[str]:
    """Yield machines, versions, rows and models, a line each."""
    for made in _manifests(results):
        yield from _machine(made)
    if project := results.manifest.get("project"):
        changed = " with changes" if project["dirty"] else ""
        yield f"run in a project at commit {project['commit'][:12]}{changed}"
    yield f"seeds: {seeds(results)}"
    for item in results.data:
        rows = ", ".join(f"{n} {split}" for split, n in item["rows"].items())
        yield (
            f"data: {item['task']} (version {item['task_version']}), {rows} rows, source: "
            f"{item['source']['test']}, test rows {item['digest']['test'][:12]}"
        )
        yield (
            f"pair {item['pair']}: target {item['target']} (files "
            f"{item['target_digest'][:12]}){_fine_tuned(item)}, draft init {item['draft']}"
        )


def seeds(results: Results) -> str:
    """Return the seeds in words; task by task, where they are not the same for all."""
    told = {task: ", ".join(map(str, own)) for task, own in seeds_of(results.results).items()}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{own} on {task}" for task, own in told.items())


def _fine_tuned(item: Mapping[str, Any]) -> str:
    """Return what fine-tuning the target cost, in words; nothing of a target as it was given."""
    if not item.get("fine_tuning"):
        return ""
    ledger = item["fine_tuning"]["ledger"]
    return (
        f" fine-tuned on {item['task']}: {ledger['steps']} steps, {ledger['rows']} rows, "
        f"{ledger['supervised_tokens']} supervised tokens, {ledger['flops']:.2e} FLOPs (estimate), "
        f"{ledger['train_s']:.1f} s"
    )


def _manifests(results: Results) -> list[Mapping[str, Any]]:
    """Return each different manifest of what the numbers were made of, not of this rendering."""
    made = [
        entry["manifest"]
        for row in results.results
        for entry in row.provenance.get("entries", ())
        if entry["manifest"]
    ]
    found = {json.dumps(facts, sort_keys=True): facts for facts in made}
    return list(found.values()) or [results.manifest]


def _machine(facts: Mapping[str, Any]) -> Iterator[str]:
    hardware, git, versions = facts["hardware"], facts["git"], facts["versions"]
    accelerators = ", ".join(hardware["accelerators"]) or "no accelerator"
    threads = f", threads used: {facts['threads']}" if facts.get("threads") else ""
    yield (f"machine: {hardware['processor']}, {hardware['cores']} cores{threads}, {accelerators}")
    yield "versions: " + ", ".join(f"{name} {value}" for name, value in versions.items() if value)
    changed = " with changes" if git and git["dirty"] else ""
    yield f"commit: {git['commit'][:12]}{changed}" if git else "commit: not a git checkout"
