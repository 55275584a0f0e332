"""Counts to publish: a run that went through one file gives the same reports; bad files do not."""

import json
import lzma
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from board_runs import board_run
from close_numbers import assert_close

from draftmark.analysis.published_counts import COUNTS, unpack_counts
from draftmark.analysis.stored_counts import stored_cell
from draftmark.errors import UserError
from draftmark.pipeline.merged_run import write_merged_run
from draftmark.pipeline.render import render_reports
from draftmark.reports.counts import REPORT as counts
from draftmark.results import Number
from draftmark.store.run_folder import load_results

ALPHAS = {"kd": (0.6, 0.62), "lk": (0.7, 0.71)}
KEY = b"draftmark"
Columns = dict[str, list[Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its published counts."""
    folder = tmp_path_factory.mktemp("run")
    render_reports(board_run(folder, ALPHAS), folder, ["counts"])
    return folder


def rewritten(
    run: Path,
    path: Path,
    columns: Callable[[Columns], None] = lambda columns: None,
    document: Callable[[dict[str, Any]], None] = lambda document: None,
) -> Path:
    """Write a file of counts with changed columns, or a changed document."""
    table = pq.read_table(run / COUNTS)
    metadata = pq.read_metadata(run / COUNTS).metadata
    found, text = table.to_pydict(), json.loads(lzma.decompress(metadata[KEY]))
    columns(found)
    document(text)
    kinds = [(name, table.schema.field(name).type) for name in found if name in table.schema.names]
    return written(path, pa.Table.from_pydict(found, schema=pa.schema(kinds)), text)


def written(path: Path, table: pa.Table, document: Any) -> Path:
    """Write a table with a document."""
    with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as file:
        file.write_table(table)
        file.add_key_value_metadata({KEY: lzma.compress(json.dumps(document).encode())})
    return path


def _comparable(path: Path, folder: Path) -> bytes:
    """Return a report's bytes without the folder's name, which is in what to paste.

    Exported numbers get the seven digits that published counts keep.
    """
    data = path.read_bytes().replace(str(folder).encode(), b"")
    if path.suffix not in (".csv", ".json"):
        return data
    return re.sub(rb"-?\d+\.\d{7,}", lambda it: b"%r" % float(f"{float(it[0]):.7g}"), data)


class TestRoundTrip:
    def test_a_report_that_needs_tables_says_so(self, run: Path, tmp_path: Path) -> None:
        write_merged_run([run / COUNTS], tmp_path / "restored")
        with pytest.raises(UserError, match="has counts alone"):
            render_reports(
                load_results(tmp_path / "restored"), tmp_path / "restored", ["reconcile"]
            )

    def test_reports_have_the_same_bytes(self, run: Path, tmp_path: Path) -> None:
        again = tmp_path / "restored"
        write_merged_run([run / COUNTS], again)
        for name in ("leaderboard", "tables", "export", "what_if"):
            before, after = (
                render_reports(load_results(folder), folder, [name]) for folder in (run, again)
            )
            assert before
            for one, other in zip(before, after, strict=True):
                if one.suffix != ".parquet":  # the rows of the CSV file
                    assert _comparable(one, run) == _comparable(other, again), one.name

    def test_counts_of_counts_are_the_same_file(self, run: Path, tmp_path: Path) -> None:
        write_merged_run([run / COUNTS], tmp_path / "first")
        render_reports(load_results(tmp_path / "first"), tmp_path / "first", ["counts"])
        write_merged_run([tmp_path / "first" / COUNTS], tmp_path / "second")
        first, second = (tmp_path / name / "results.json" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()

    def test_counts_by_position_and_of_tokens_are_kept(self, run: Path, tmp_path: Path) -> None:
        unpack_counts(run / COUNTS, tmp_path)
        results = load_results(tmp_path)
        for row in results.results[:2]:
            for temperature in (0.0, 1.0):
                tables, kept = (stored_cell(row, f, temperature) for f in (run, tmp_path))
                assert (kept.prompts, kept.drafts) == (tables.prompts, tables.drafts)
                assert (kept.longest, kept.verifications) == (tables.longest, tables.verifications)
                for one, other in (
                    (kept.positions(4), tables.positions(4)),
                    (vars(kept.token_sums()).values(), vars(tables.token_sums()).values()),
                    (
                        vars(kept.blocks(9, None, "block")).values(),
                        vars(tables.blocks(9, None, "block")).values(),
                    ),
                ):
                    assert one
                    assert other
                    assert [v.tolist() for v in one] == [v.tolist() for v in other]
                assert kept.positions(3) is None

    def test_counts_of_short_blocks_are_smaller_and_have_the_runs_numbers_of_these(
        self, run: Path, tmp_path: Path
    ) -> None:
        short, whole = tmp_path / "short.parquet", load_results(run)
        rate, gain = "acceptance_rate[t=0,gamma=9]", "block_verification_gain[t=1,gamma=16]"
        speed = "speedup[engine=vllm,batch=1,t=0,gamma=9]"
        number = Number(0.5, 0.4, 0.6, 8, "a rate")
        longer = dict.fromkeys((rate, gain, speed), number)
        rows = tuple(replace(row, numbers={**row.numbers, **longer}) for row in whole.results)
        (made,) = replace(counts, longest=8)(replace(whole, results=rows), run).values()
        short.write_bytes(made)
        write_merged_run([short], tmp_path / "restored")
        results = load_results(tmp_path / "restored")
        for row, before in zip(results.results, whole.results, strict=True):
            assert_close(row.numbers, {**before.numbers, speed: number})
        assert len(made) < 0.8 * (run / COUNTS).stat().st_size
        kept = stored_cell(results.results[0], tmp_path / "restored", 1.0)
        assert kept.longest == 8
        for name in ("leaderboard", "what_if"):
            assert render_reports(results, tmp_path / "restored", [name])
        with pytest.raises(UserError, match="own blocks are of 4 tokens: --longest is at least"):
            replace(counts, longest=3)(load_results(run), run)

    def test_a_folder_and_a_file_join(self, run: Path, tmp_path: Path) -> None:
        board_run(tmp_path / "other", {"sft": (0.5, 0.55)})
        write_merged_run([run / COUNTS, tmp_path / "other"], tmp_path / "mixed")
        write_merged_run([run, tmp_path / "other"], tmp_path / "folders")
        mixed, folders = (load_results(tmp_path / name) for name in ("mixed", "folders"))
        for one, other in zip(mixed.results, folders.results, strict=True):
            assert_close(one.numbers, other.numbers)
        letters = [[item.letters for item in it.standings] for it in (mixed, folders)]
        assert letters[0] == letters[1]

    def test_the_file_is_small_and_has_no_texts(self, run: Path) -> None:
        tables = sum(file.stat().st_size for file in run.rglob("tables-*.parquet"))
        assert (run / COUNTS).stat().st_size < tables
        document = json.loads(lzma.decompress(pq.read_metadata(run / COUNTS).metadata[KEY]))
        assert not [name for name in document["files"] if "examples" in name]


def _one_row_more(columns: Columns) -> None:
    for values in columns.values():
        values.append(values[-1])


def _set(name: str, value: Any) -> Callable[[Columns], None]:
    def change(columns: Columns) -> None:
        columns[name][-1] = value

    return change


def _longest_block(gamma: int) -> Callable[[Columns], None]:
    def change(columns: Columns) -> None:
        longest = max(columns["gamma"])
        columns["gamma"] = [gamma if it == longest else it for it in columns["gamma"]]

    return change


def _record(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["files"].update({name: "AAAA"})


def _infinite(document: dict[str, Any]) -> None:
    numbers = document["results"]["results"][0]["numbers"]
    next(iter(numbers.values()))["value"] = float("inf")


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a column less": ({"columns": lambda it: it.pop("passes")}, "its columns are not those"),
    "a prompt twice": ({"columns": _one_row_more}, "a prompt is there more than once"),
    "a prompt too many": ({"columns": _set("prompt", 99)}, "its prompts are not the 8"),
    "too many tokens": ({"columns": _set("tokens", 10**9)}, "blocks of"),
    "negative": ({"columns": _set("accepted", -1)}, "negative"),
    "a block of 999": ({"columns": _longest_block(999)}, "there is no such block"),
    "a cell more": ({"columns": _set("cell", 77)}, "cannot be read"),
    "no results": ({"document": lambda it: it.pop("results")}, "results"),
    "an infinite number": ({"document": _infinite}, "is not finite"),
    "another format": ({"document": lambda it: it.update(format=2)}, "format"),
    "a path outside": ({"document": _record("../evil.json")}, "is not a record of a cell"),
    "a path elsewhere": ({"document": _record("records/00/../../x")}, "is not a record of a cell"),
    "a hidden file": ({"document": _record("records/00/.bashrc")}, "is not a record of a cell"),
    "results.json itself": ({"document": _record("results.json")}, "is not a record of a cell"),
    "records of no cell": ({"document": _record("records/99/runs.parquet")}, "is not a record"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_a_sentence(name: str, run: Path, tmp_path: Path) -> None:
    changes, reason = HOSTILE[name]
    path = rewritten(run, tmp_path / "bad.parquet", **changes)
    with pytest.raises(UserError, match=reason) as refused:
        write_merged_run([path], tmp_path / "out")
    assert str(path) in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_not_unpacked(run: Path, tmp_path: Path) -> None:
    schema, rows = pq.read_table(run / COUNTS).schema, 6_000_000
    zeros = {
        f.name: pa.nulls(rows, f.type).fill_null(False if f.type == "bool" else 0) for f in schema
    }
    path = written(tmp_path / "bomb.parquet", pa.Table.from_pydict(zeros, schema=schema), {})
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UserError, match="claims 6000000 rows"):
        unpack_counts(path, tmp_path / "out")


def test_a_document_that_swells_is_not_unpacked(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("draftmark.analysis.published_counts.MAX_DOCUMENT", 1_000_000)
    path = rewritten(run, tmp_path / "b.parquet", document=lambda it: it.update(x=" " * 2_000_000))
    with pytest.raises(UserError, match="its results are longer than 1 MB"):
        unpack_counts(path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a parquet file" * 10])
def test_another_file_is_not_counts(content: bytes, tmp_path: Path) -> None:
    (tmp_path / COUNTS).write_bytes(content)
    with pytest.raises(UserError, match="make the file again with draftmark report RUN counts"):
        unpack_counts(tmp_path / COUNTS, tmp_path / "out")


def test_a_flipped_byte_is_a_sentence_or_does_no_harm(run: Path, tmp_path: Path) -> None:
    data = (run / COUNTS).read_bytes()
    for place in range(100, len(data), len(data) // 12):
        changed = bytes([*data[:place], data[place] ^ 0x55, *data[place + 1 :]])
        (tmp_path / COUNTS).write_bytes(changed)
        with suppress(UserError):  # no other error leaves the reader
            unpack_counts(tmp_path / COUNTS, tmp_path / f"out {place}")
