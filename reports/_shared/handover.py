"""What to paste into a server's command line, for the draft that a verdict recommends.

The draft is the one to serve with; where speed was not measured, the first by block efficiency.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from draftmark.analysis.handover import Handover, handover, is_plain, served_handover
from draftmark.analysis.recommendation import drafts_to_serve
from draftmark.reports._shared.content import escape_markdown
from draftmark.reports._shared.rows import gamma_of, group_by, row_name
from draftmark.reports._shared.serving_verdict import condition_text
from draftmark.reports._shared.verdict import Verdict
from draftmark.results import Result, Results
from draftmark.text import printable_text

_INDENT = " "
_MEASURE = (
    "to learn whether the draft pays, measure again with --against the same model without a draft"
)


@dataclass(frozen=True)
class Advised:
    """The handover of one task and pair; `why` is the condition in words.

    `handover` is None where no draft is known to pay, or where its method has no known settings.
    """

    task: str
    pair: str
    why: str
    handover: Handover | None = None


def advised(
    results: Results, directory: Path, found: Sequence[Verdict], rows: Sequence[Result]
) -> list[Advised]:
    """Return what to paste for each verdict; `rows` are all results."""
    return [_advised(results, directory, item, _rows_of(item, rows)) for item in found]


def _rows_of(verdict: Verdict, rows: Sequence[Result]) -> list[Result]:
    place = (verdict.task, verdict.pair)
    return [row for row in rows if (row.cell.task, row.cell.pair) == place and not row.failure]


def _advised(
    results: Results, directory: Path, verdict: Verdict, rows: Sequence[Result]
) -> Advised:
    case, name = verdict.serving, _untimed_draft(verdict, rows)
    why, gammas = "speed was not measured: the first by block efficiency", {1: gamma_of(results)}
    if case is not None:
        name = next(iter(drafts_to_serve(case.advice)), "")
        why = condition_text(case)
        gammas = {
            item.batch: item.advice[name].gamma
            for item in verdict.cases
            if name in item.advice and (item.temperature, item.how) == (case.temperature, case.how)
        }
    row = next((row for row in rows if str(row_name(row.cell, rows)) == name), None)
    if row is None or not any(gammas.values()):
        return Advised(verdict.task, verdict.pair, why)
    if results.server is not None:
        own = served_handover(results, name, gammas)
        return Advised(verdict.task, verdict.pair, why if case else _MEASURE, own)
    sampled = case is not None and case.temperature > 0 and _is_sampled(results, case.how)
    own_or_none = handover(results, row.cell, name, gammas, run=str(directory), sampled=sampled)
    return Advised(verdict.task, verdict.pair, why, own_or_none)


def _untimed_draft(verdict: Verdict, rows: Sequence[Result]) -> str:
    """Return the row's name of the first method by block efficiency, or of the only one."""
    first = verdict.leaders[0].method if verdict.leaders else ""
    named = {row.cell.method: str(row_name(row.cell, rows)) for row in reversed(rows)}
    return named.get(first, "") or (next(iter(named.values())) if len(named) == 1 else "")


def _is_sampled(results: Results, how: str) -> bool:
    """True if the advice is on a draft that draws its tokens."""
    settings = results.recipe["evaluation"].get("draft") or {}
    return "draft greedy" not in how and settings.get("temperature") != 0


def paste_lines(found: Sequence[Advised], width: int) -> list[str]:
    """Return the lines for a terminal: the draft that most tasks are to be served with.

    A line break inside the JSON does not matter to a shell or to vLLM.
    """
    if not (chosen := _most_served(found)):
        return []
    own, on = chosen
    lines = wrap(f"To serve {own.name}{on}, first {own.command}", width) if own.command else []
    lead = f"vLLM{on}: " if on and not lines else ""
    flag = _vllm_lines(own, width, lead) if own.vllm else wrap(own.sglang_flags, width)
    lines += flag or wrap("; ".join(own.notes), width)
    return [printable_text(line, len(line)) for line in lines]


def export_lines(found: Sequence[Advised], width: int) -> list[str]:
    """Return the same in fewer lines: the command that exports the draft and prints the flags."""
    if not (chosen := _most_served(found)):
        return []
    own, on = chosen
    how = own.command or "what to paste is in the leaderboard"
    lines = wrap(f"To serve {own.name}{on}: {how}", width, break_on_hyphens=False)
    return [printable_text(line, len(line)) for line in lines]


def _most_served(found: Sequence[Advised]) -> tuple[Handover, str] | None:
    """Return the draft that most tasks are to be served with, and " on" the first of them.

    The words are empty for a single task.
    """
    known = [(item, item.handover) for item in found if item.handover]
    if not known:
        return None
    by_draft = group_by(known, lambda pair: pair[1].name)
    item, own = max(by_draft.values(), key=len)[0]
    return own, f" on {item.task}" if len(found) > 1 else ""


def _vllm_lines(own: Handover, width: int, lead: str) -> list[str]:
    """Return vLLM's flag, after some words, in lines broken between the keys of its JSON."""
    lines, line = [], f"{lead}--speculative-config '{{"
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in own.vllm.items()]
    for number, part in enumerate(parts):
        piece = part.replace("'", "'\\''") + (", " if number < len(parts) - 1 else "}'")
        if len(line) + len(piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = _INDENT
        line += piece
    return [*lines, line]


@dataclass(frozen=True)
class Paste:
    """What to paste for one task and pair, as plain text."""

    title: str
    commands: Sequence[str]
    notes: Sequence[str]


def pastes(results: Results, found: Sequence[Advised]) -> list[Paste]:
    """Return what to paste for each task and pair that has something."""
    return [
        Paste(
            f"{item.task}, {item.pair}: {item.handover.name} ({item.why})",
            list(_commands(item.handover, _target(results, item))),
            [*item.handover.notes, *_schedule_note(item.handover.gammas)],
        )
        for item in found
        if item.handover
    ]


def paste_script(results: Results, found: Sequence[Advised]) -> str:
    """Return what to paste as a script for a shell, with titles and notes as comments."""
    parts = [
        "\n".join(
            [
                f"# {_one_line(item.title)}",
                *map(_one_line, item.commands),
                *(f"# {note}" for note in map(_one_line, item.notes)),
            ]
        )
        for item in pastes(results, found)
    ]
    return "\n\n".join(parts)


def _one_line(text: str) -> str:
    return printable_text(text, len(text))


def handover_section(results: Results, found: Sequence[Advised]) -> str:
    """Return the Markdown section with what to paste for each task and pair; empty if nothing."""
    parts = []
    for item in pastes(results, found):
        parts.append(escape_markdown(f"{item.title}."))
        parts += [f"```bash\n{printable_text(text, len(text))}\n```" for text in item.commands]
        parts += [f"- {escape_markdown(note)}." for note in item.notes]
    return "\n\n".join(["## What to paste", *parts]) if parts else ""


def _commands(own: Handover, target: str) -> Iterator[str]:
    """Yield the commands: the export of the draft, then one for each server."""
    if own.command:
        yield own.command
    if own.vllm:
        yield f"vllm serve {target} {own.vllm_flag}"
    if own.sglang:
        yield f"python -m sglang.launch_server --model-path {target} {own.sglang_flags}"


def _target(results: Results, item: Advised) -> str:
    """Return the target's name or folder for a shell; a fine-tuned one is only in the store."""
    for each in results.data:
        if (each["task"], each["pair"]) == (item.task, item.pair) and not each.get("fine_tuning"):
            name, kept = str(each["target"]), each.get("models", {}).get("target", {})
            if not is_plain(name):
                return "TARGET"
            if results.server is not None or "/" in name or kept.get("source") == "hub":
                return shlex.quote(name)
            return f'"$(draftmark fetch {shlex.quote(name)})"'
    return "TARGET"


def _schedule_note(gammas: Mapping[int, int]) -> Iterator[str]:
    """Yield a sentence on the schedule, if block lengths differ between batch sizes."""
    if len(set(gammas.values())) > 1:
        timed = ", ".join(map(str, sorted(gammas)))
        yield (
            f"batch sizes {timed} were timed: in vLLM a size between two of them drafts as the "
            "larger one, and a size above all of them as the largest; SGLang has no such schedule"
        )
