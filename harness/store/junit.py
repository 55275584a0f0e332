"""JUnit XML, as services of continuous integration read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as xml

from draftmark.text import printable_text


@dataclass(frozen=True)
class JUnitCase:
    """A case of a suite; `kind` is how it failed, "" if it passed, `reason` the type of that."""

    group: str
    name: str
    kind: Literal["", "failure", "error"] = ""
    reason: str = ""
    message: str = ""


def junit_document(suite: str, cases: Sequence[JUnitCase]) -> str:
    """Return the document of one suite of test cases."""
    kinds = [case.kind for case in cases]
    counts = {
        "tests": len(cases),
        "failures": kinds.count("failure"),
        "errors": kinds.count("error"),
    }
    totals = {name: str(count) for name, count in counts.items()}
    suites = xml.Element("testsuites", totals)
    inside = xml.SubElement(suites, "testsuite", {"name": suite, **totals})
    for case in cases:
        names = {"classname": printable_text(case.group), "name": printable_text(case.name)}
        element = xml.SubElement(inside, "testcase", {**names, "time": "0"})
        if case.kind:
            facts = {"type": case.reason, "message": printable_text(case.message)}
            xml.SubElement(element, case.kind, facts)
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, "unicode") + "\n"
