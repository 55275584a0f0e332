"""What the gate said: Markdown for people, JUnit XML for CI, JSON in Bencher's metric format.

Bencher: benchmark -> measure -> value, lower_value, upper_value (bencher.dev, "Bencher Metric
Format"). JUnit: a contender is a test; one that is inconclusive is an error, for it did not pass.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from draftmark.errors import UserError
from draftmark.reports._shared.markdown import escape, table, three
from draftmark.results import Results
from draftmark.text import plain

FILE = "gate.json"  # what `draftmark gate` leaves: all that is rendered here
_Facts = Mapping[str, Any]


def gate(results: Results, directory: Path) -> dict[str, str]:
    """Return gate.md, gate.xml and gate.bencher.json; raises UserError if no gate was run."""
    path = directory / FILE
    if not path.is_file():
        raise UserError(f"{directory} has no {FILE}; run draftmark gate on it first.")
    try:
        outcome = json.loads(path.read_text("utf-8"))
        return {
            "gate.md": _markdown(results.title, outcome),
            "gate.xml": _junit(outcome),
            "gate.bencher.json": json.dumps(_bencher(outcome), indent=1) + "\n",
        }
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} does not read ({error}); run the gate again.") from error


def _markdown(title: str, outcome: _Facts) -> str:
    body = [
        [
            escape(line["name"]),
            f"{line['n']}",
            _or_dash(line["before"]),
            _or_dash(line["now"]),
            _difference(line),
            line["verdict"] if line["verdict"] == "PASS" else f"**{line['verdict']}**",
            escape(line["note"]),
        ]
        for line in outcome["lines"]
    ]
    header = ["", "prompts", "accepted", "now", "difference", "verdict", "note"]
    parts = [
        f"# Gate: {outcome['verdict']}",
        f"{escape(title)}: {escape(outcome['quantity'])}, blocks of {outcome['gamma']} drafted "
        f"tokens, margin {outcome['rule']['margin']:g}.",
        table(header, body, "lrrrrll"),
        _how(outcome),
        *map(escape, outcome["notes"]),
    ]
    if outcome["differs"]:
        what = "Differs, as declared or as another number of prompts implies"
        parts.append(f"{what}: {escape('; '.join(outcome['differs']))}.")
    return "\n\n".join(parts) + "\n"


def _how(outcome: _Facts) -> str:
    rule = outcome["rule"]
    text = (
        "The difference is now - accepted, paired on prompts. FAIL: its interval is below -margin; "
        "PASS: above it; else INCONCLUSIVE. The gate as a whole errs with 1 % at most, so each of "
        f"{rule['comparisons']} comparisons at each of {rule['looks']} looks has its share of that."
    )
    sizes = outcome["sizes"]
    return text + (f" Looked at {', '.join(map(str, sizes))} test rows." if sizes else "")


def _difference(line: _Facts) -> str:
    if line["difference"] is None:
        return "-"
    return f"{line['difference']:+.4f} [{line['low']:+.4f}, {line['high']:+.4f}]"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else three(value)


def _junit(outcome: _Facts) -> str:
    lines = outcome["lines"]
    counts = {
        "tests": len(lines),
        "failures": sum(line["verdict"] == "FAIL" for line in lines),
        "errors": sum(line["verdict"] == "INCONCLUSIVE" for line in lines),
    }
    shown = {name: str(count) for name, count in counts.items()}
    suites = xml.Element("testsuites", shown)
    suite = xml.SubElement(suites, "testsuite", {"name": "draftmark gate", **shown})
    for line in lines:
        whose, _, name = plain(line["name"]).rpartition("/")
        case = xml.SubElement(suite, "testcase", {"classname": whose, "name": name, "time": "0"})
        if line["verdict"] != "PASS":
            kind = "failure" if line["verdict"] == "FAIL" else "error"
            message = f"{outcome['quantity']}: {_difference(line)} {plain(line['note'])}"
            told = {"type": line["verdict"], "message": message.strip()}
            xml.SubElement(case, kind, told)
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, "unicode") + "\n"


def _bencher(outcome: _Facts) -> dict[str, dict[str, dict[str, float]]]:
    return {plain(line["name"]): dict(_measures(outcome, line)) for line in outcome["lines"]}


def _measures(outcome: _Facts, line: _Facts) -> Iterator[tuple[str, dict[str, float]]]:
    if line["now"] is not None:
        yield outcome["quantity"], {"value": line["now"]}
    if line["difference"] is not None:
        bounds = {"lower_value": line["low"], "upper_value": line["high"]}
        yield f"{outcome['quantity']}_difference", {"value": line["difference"], **bounds}


REPORT = gate
