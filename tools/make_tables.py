"""Makes every published table and figure of studies whose counts are in the repository.

A study is a folder of reports/measured with counts.parquet and study.toml, which declares tables
and figures. A table stands between two marks of a Markdown file, which name study and table:

    <!-- table: STUDY/NAME -->
    <!-- end -->

A figure of the report `figures` is a PNG in the study's folder, beside the CSV of what it draws.
A test runs this with --check: tables and CSV files must be what it makes. PNG bytes depend on the
version of matplotlib, so the CSV stands for them.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from draftmark.analysis.published_counts import COUNTS, opened_run
from draftmark.analysis.stored_speed import with_unmeasured_numbers
from draftmark.config.validation import Section, parse_toml, validate_section
from draftmark.errors import UserError
from draftmark.pipeline.render import render_reports
from draftmark.reports._tables.differences import DifferenceMap, difference_map
from draftmark.reports._tables.study import Declaration, study_table
from draftmark.store.plain_files import read_plain
from draftmark.store.reading import explained
from draftmark.store.run_folder import load_results
from draftmark.text import decode_text

ROOT = Path(__file__).resolve().parent.parent
STUDY = "study.toml"
_MARKED = re.compile(
    r"^(<!-- table: (\S+)/(\S+) -->\n).*?^(<!-- end -->)", re.DOTALL | re.MULTILINE
)


class Study(Section):
    """What study.toml declares."""

    tables: Mapping[str, Declaration] = {}
    differences: Mapping[str, DifferenceMap] = {}
    figures: tuple[str, ...] = ()


def make_files(root: Path) -> dict[Path, str | bytes]:
    """Return the content of every file that holds a published table or figure."""
    tables: dict[tuple[str, str], str] = {}
    files: dict[Path, str | bytes] = {}
    for file in sorted((root / "reports/measured").glob(f"*/{STUDY}")):
        made, figures = _of_study(file.parent)
        tables |= {(file.parent.name, name): table for name, table in made.items()}
        files |= {file.parent / name: content for name, content in figures.items()}
    for page in [root / "README.md", *sorted(root.glob("docs/*.md")), *_pages(root)]:
        text = page.read_text("utf-8")
        if found := _MARKED.sub(lambda mark: _filled(mark, tables), text):
            files |= {page: found} if _MARKED.search(text) else {}
    return files


def _pages(root: Path) -> list[Path]:
    return sorted((root / "reports/measured").glob("**/*.md"))


def _filled(mark: re.Match[str], tables: Mapping[tuple[str, str], str]) -> str:
    start, study, name, end = mark.groups()
    if (study, name) not in tables:
        raise SystemExit(f"No study.toml declares the table {study}/{name}.")
    return f"{start}\n{tables[study, name]}\n\n{end}"


def _of_study(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return a study's tables, and the files of its figures."""
    with explained(folder / STUDY, "fix the file"):
        text = decode_text(read_plain(folder / STUDY))
    origin = f"{folder.name}/{STUDY}"
    declared = validate_section(Study, parse_toml(text, origin), origin)
    with opened_run(folder / COUNTS) as run:
        results = with_unmeasured_numbers(load_results(run), run)
        tables = {key: study_table(results, table) for key, table in declared.tables.items()}
        maps = {key: difference_map(results, item) for key, item in declared.differences.items()}
        if declared.figures:
            render_reports(results, run, ["figures"])
        drawn = {path.stem for path in (run / "figures").glob("*.csv")}
        if missing := sorted(set(declared.figures) - drawn):
            known = ", ".join(sorted(drawn))
            raise SystemExit(f"{folder.name}: no figure {', '.join(missing)}; there are {known}.")
        figures = {
            f"{figure}{suffix}": (run / "figures" / f"{figure}{suffix}").read_bytes()
            for figure in declared.figures
            for suffix in (".png", ".csv")
        }
    return tables | maps, figures


def differing(files: Mapping[Path, str | bytes]) -> list[Path]:
    """Return the files that are not in the repository as they are made.

    Pictures have other bytes on other machines: the data that they show decide.
    """
    return [
        path
        for path in files
        for data in [path.with_suffix(".csv") if path.suffix == ".png" else path]
        if not (path.is_file() and data.is_file() and data.read_bytes() == _bytes(files[data]))
    ]


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def main(arguments: list[Any]) -> None:
    """Write the files; with --check exit with 1 if one differs.

    Counts or a study.toml that cannot be read end in a sentence.
    """
    try:
        files = make_files(ROOT)
    except UserError as error:
        raise SystemExit(str(error)) from error
    if arguments == ["--check"]:
        if found := [str(path.relative_to(ROOT)) for path in differing(files)]:
            raise SystemExit(f"Not what make tables makes: {', '.join(found)}.")
        return
    for path in differing(files):
        path.write_bytes(_bytes(files[path]))
        print(f"Written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
