"""The gate's verdict as Markdown for people, JUnit XML for CI and JSON for Bencher.

Bencher: benchmark -> measure -> value, lower_value, upper_value (bencher.dev, "Bencher Metric
Format"). JUnit: each contender is a test; INCONCLUSIVE is an error, since the test did not pass.
"""

# In short: The gate's verdict as Markdown, JUnit XML and Bencher's JSON.

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from draftmark.analysis.titles import quantity_title
from draftmark.reports._shared.content import escape_markdown, markdown_table
from draftmark.reports._shared.outcome import Facts, render_outcome
from draftmark.reports._shared.rows import group_by
from draftmark.results import Results
from draftmark.store.junit import JUnitCase, junit_document
from draftmark.text import counted, printable_text

_SHOWN = 5  # drafts in one sentence
_SUITE = "draftmark gate"
FILE = "gate.json"  # written by `draftmark gate`


def gate(results: Results, directory: Path) -> dict[str, str]:
    """Return gate.md, gate.xml and gate.bencher.json; raises UserError without gate.json.

    A refused gate is an error, so that whatever reads the files sees why there is no verdict.
    """
    return render_outcome(directory / FILE, _SUITE, lambda outcome: _files(results.title, outcome))


def _files(title: str, outcome: Facts) -> dict[str, str]:
    if "refused" in outcome:
        shown = f"# Gate: REFUSED\n\n{escape_markdown(outcome['refused'])}\n"
        return {"gate.md": shown, "gate.xml": _refused_junit(outcome), "gate.bencher.json": "{}\n"}
    return {
        "gate.md": _markdown(title, outcome),
        "gate.xml": _junit(outcome),
        "gate.bencher.json": json.dumps(_bencher(outcome), indent=1) + "\n",
    }


def _markdown(title: str, outcome: Facts) -> str:
    body = [
        [
            escape_markdown(line["name"]),
            f"{line['n']}",
            "-" if line["before"] is None else f"{line['before']:.3f}",
            "-" if line["now"] is None else f"{line['now']:.3f}",
            _difference(line),
            line["verdict"] if line["verdict"] == "PASS" else f"**{line['verdict']}**",
            escape_markdown(line["note"]),
        ]
        for line in outcome["lines"]
    ]
    header = ["", "prompts", "accepted", "now", "difference", "verdict", "note"]
    parts = [
        f"# Gate: {outcome['verdict']}",
        escape_markdown(_answer(outcome)),
        "\n".join(f"- {escape_markdown(line)}" for line in _sides(title, outcome)),
        markdown_table(header, body, "lrrrrll"),
        _how(outcome),
        *map(escape_markdown, outcome["notes"]),
    ]
    if outcome["differs"]:
        allowed = (
            "Differences that are stated, not refused (commits, drafts' weights, code of methods, "
            "plug-ins; what was declared; what follows from the number of prompts)"
        )
        parts.append(f"{allowed}: {escape_markdown('; '.join(outcome['differs']))}.")
    return "\n\n".join(parts) + "\n"


def _answer(outcome: Facts) -> str:
    """Return the verdict as a sentence: which rates fell, or that none did."""
    rate, margin = quantity_title(outcome["quantity"]), f"{outcome['rule']['margin']:g}"
    by_verdict = group_by(outcome["lines"], lambda line: line["verdict"])
    total, prompts = len(outcome["lines"]), max((line["n"] for line in outcome["lines"]), default=0)
    if outcome["verdict"] == "PASS":
        return (
            f"No accepted {rate} has fallen by {margin} or more: {total} compared, on up to "
            f"{counted(prompts, 'prompt')} each."
        )
    shown = by_verdict[outcome["verdict"]]
    names = ", ".join(f"{_case(line)} ({_difference(line)})" for line in shown[:_SHOWN])
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    if outcome["verdict"] == "FAIL":
        return f"Fallen by more than {margin}, or failed: {names}{more}."
    return f"Not known to have fallen by {margin}, nor not to: {names}{more}."


def _sides(title: str, outcome: Facts) -> Iterator[str]:
    """Yield what was accepted, what is new, and how to accept it."""
    known = outcome.get("accepted", {})
    if known:
        at = f"commit {known['commit'][:8]}, " if known.get("commit") else ""
        yield f"Accepted: {at}{known.get('date', '')}: {known.get('reason', '')}"
    commit = f", commit {outcome['commit'][:8]}" if outcome.get("commit") else ""
    block = outcome.get("verification") == "block"
    rule = ", block verification" * block
    yield f"This run: {title}{commit}; blocks of {outcome['gamma']} drafted tokens{rule}"
    option = " --verification block" * block
    yield f"If the new numbers are right: draftmark bless RUN ACCEPTED --reason '...'{option}"


def _case(line: Facts) -> str:
    """Return a compared rate's draft and place in words."""
    place, _, temperature = line["name"].rpartition("/")
    task, pair, method = place.split("/", maxsplit=2)
    return f"{method} on {task}, {pair}, {temperature.replace('t=', 'T=')}"


def _how(outcome: Facts) -> str:
    rule = outcome["rule"]
    text = (
        "Difference: now - accepted, paired on prompts. FAIL: its interval is below -margin; PASS: "
        "above -margin; INCONCLUSIVE: around it. The error probability of the whole gate, at most "
        f"1%, is split over {counted(rule['comparisons'], 'comparison')} and "
        f"{counted(rule['looks'], 'look')}."
    )
    sizes = outcome["sizes"]
    return text + (f" Looks were taken at {', '.join(map(str, sizes))} test rows." if sizes else "")


def _difference(line: Facts) -> str:
    if line["difference"] is None:
        return "-"
    if line["low"] is None:
        return f"{line['difference']:+.4f}"
    return f"{line['difference']:+.4f} [{line['low']:+.4f}, {line['high']:+.4f}]"


def _junit(outcome: Facts) -> str:
    return junit_document(_SUITE, [_test_case(outcome, line) for line in outcome["lines"]])


def _test_case(outcome: Facts, line: Facts) -> JUnitCase:
    group = "/".join(line["name"].split("/")[:2])
    name = f"{quantity_title(outcome['quantity'])} of {_case(line)}"
    if line["verdict"] == "PASS":
        return JUnitCase(group, name)
    message = f"{outcome['quantity']}: {_difference(line)} {printable_text(line['note'])}"
    kind: Literal["failure", "error"] = "failure" if line["verdict"] == "FAIL" else "error"
    return JUnitCase(group, name, kind, line["verdict"], message.strip())


def _refused_junit(outcome: Facts) -> str:
    case = JUnitCase("draftmark", "gate", "error", "REFUSED", outcome["refused"])
    return junit_document(_SUITE, [case])


def _bencher(outcome: Facts) -> dict[str, dict[str, dict[str, float]]]:
    quantity = outcome["quantity"]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for line in outcome["lines"]:
        measures = found[printable_text(line["name"])] = {}
        if line["now"] is not None:
            measures[quantity] = {"value": line["now"]}
        if line["difference"] is not None:
            ends = {"lower_value": line["low"], "upper_value": line["high"]}
            known = {} if line["low"] is None else ends
            measures[f"{quantity}_difference"] = {"value": line["difference"], **known}
    return found


REPORT = gate
