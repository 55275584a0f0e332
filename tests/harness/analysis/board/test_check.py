"""Submissions: the honest ones pass, and each dishonest one is named for what it is."""

import json
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from board_runs import (
    LIMIT,
    board_run,
    make_board,
    rehash,
    row_of,
    small_suite,
    sound_rows,
    tamper,
)
from commands import run_command, sentence_of

from draftmark.analysis.board.board import open_board, template_files
from draftmark.analysis.board.check import Checked, check_board
from draftmark.analysis.board.counts import FILE
from draftmark.analysis.board.packing import _named
from draftmark.analysis.board.submission import content_hash, read_submission
from draftmark.analysis.board.submit import submit_run
from draftmark.analysis.count_columns import COUNTED
from draftmark.errors import UserError
from draftmark.pipeline.render import render_reports
from draftmark.store.run_folder import RESULTS, SUMS, load_results

ALPHAS = {"untrained": [0.4, 0.45], "kd": [0.8, 0.82], "lk": [0.7, 0.72]}
KEYS = ("cell", "temperature", "gamma", "block")
Change = Callable[[Path], Path]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a board with three honest submissions."""
    folder = tmp_path_factory.mktemp("honest")
    board_run(folder / "run", ALPHAS)
    board = make_board(folder / "board", targets=f'[targets]\n"tiny-target" = "{"0" * 64}"\n')
    assert len(list(submit_run(folder / "run", open_board(board), date="2026-01-01"))) == 3
    return board


@pytest.fixture
def board(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "board"))


def checked(board: Path) -> list[Checked]:
    return check_board(open_board(board))


def refused(board: Path) -> list[Checked]:
    return [item for item in checked(board) if item.faults]


def test_honest_submissions_pass(board: Path) -> None:
    found = checked(board)

    assert [item.faults for item in found] == [(), (), ()]
    assert [item.lines()[0].split()[0] for item in found] == ["OK"] * 3


def test_no_text_of_a_prompt_is_packed(board: Path) -> None:
    for file in row_of(board).rglob("*"):
        if file.is_file():
            assert b"Natalia" not in file.read_bytes()
            assert b"question" not in file.read_bytes()


def _set(place: str, value: Any, document: dict[str, Any]) -> None:
    *path, last = place.split("/")
    inside: Any = document
    for key in path:
        inside = inside[int(key)] if isinstance(inside, list) else inside[key]
    inside[int(last) if isinstance(inside, list) else last] = value


def setting(place: str, value: Any) -> Change:
    return lambda row: tamper(row, partial(_set, place, value))


def edited_counts(change: Callable[[dict[str, list[Any]]], None]) -> Change:
    return lambda row: tamper(row, counts=change)


def accept_more(columns: dict[str, list[Any]]) -> None:
    columns["accepted"][3] += 5.0


def accept_more_consistently(columns: dict[str, list[Any]]) -> None:
    """Raise acceptance so that the counts still add up."""
    columns["accepted"][3] += 1.0
    columns["tested"][3] += 1.0
    columns["passes"][3] -= 1.0
    columns["drafted"][3] -= columns["gamma"][3]


def more_tested(columns: dict[str, list[Any]]) -> None:
    columns["tested"][3] = columns["drafted"][3] + 1.0


def repeat_a_prompt(columns: dict[str, list[Any]]) -> None:
    for name in ("prompt", "accepted", "tested", "drafted", "tokens", "passes"):
        columns[name][1] = columns[name][0]


def repeat_a_row(document: dict[str, Any]) -> None:
    document["results"].append(document["results"][0])


def submit_again(row: Path) -> Path:
    shutil.copytree(row, row.with_name("copy"))
    return setting("manifest/submission/date", "2026-02-01")(row.with_name("copy"))


def rename_row(row: Path) -> Path:
    """Submit the same counts as a draft of one's own."""
    new = row.parent.with_name("mine") / row.name
    shutil.copytree(row, new)

    def own(document: dict[str, Any]) -> None:
        header = document["manifest"]["submission"]
        header["draft"], header["date"] = "mine", "2026-02-01"
        for item in document["results"]:
            item["cell"]["method"] = "mine"
        for item in document["pooled"]:
            item["contender"]["method"] = "mine"

    return tamper(new, own)


def move_to_other_target(row: Path) -> Path:
    new = row.parent.parent.with_name("big-target") / row.parent.name / row.name
    new.parent.mkdir(parents=True)
    return row.rename(new)


def break_hashes(row: Path) -> Path:
    text = (row / RESULTS).read_text()
    (row / RESULTS).write_text(text.replace('"title": "A small run"', '"title": "My small run"'))
    return row


def rename_folder(row: Path) -> Path:
    return row.rename(row.with_name("0" * 16))


def compressed_bomb(row: Path) -> Path:
    table = pq.read_table(row / FILE)
    pq.write_table(pa.concat_tables([table] * 1000), row / FILE, compression="zstd")
    return rehash(row)


def many_rows(row: Path) -> Path:
    table = pq.read_table(row / FILE)
    same = {name: [table[name][0].as_py()] * 200_000 for name in table.column_names}
    pq.write_table(pa.table(same, schema=table.schema), row / FILE, compression="none")
    return rehash(row)


def sparse_file(row: Path) -> Path:
    with (row / FILE).open("r+b") as file:
        file.truncate(2**40)
    return row


def deep_nesting(row: Path) -> Path:
    (row / RESULTS).write_text("[" * 100_000)
    return rehash(row)


def one_more_file(row: Path) -> Path:
    (row / "run.sh").write_text("echo")
    return row


def link_out(row: Path) -> Path:
    (row / RESULTS).unlink()
    (row / RESULTS).symlink_to("/etc/passwd")
    return row


def claim_fewer_rows(row: Path) -> Path:
    """Write a million equal rows, which take few bytes, and claim a hundred."""
    rows = 1_000_000
    table = pa.table(
        {f.name: pa.nulls(rows, f.type).fill_null(pa.scalar(0).cast(f.type)) for f in schema(row)},
        schema(row),
    )
    names = [f.name for f in schema(row) if f.name != "block"]
    pq.write_table(
        table,
        row / FILE,
        compression="none",
        row_group_size=rows,
        use_dictionary=names,
        column_encoding={"block": "RLE"},
    )
    data = (row / FILE).read_bytes()
    claim = varint(rows)
    place = data.index(claim, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
    (row / FILE).write_bytes(data[:place] + varint(100, len(claim)) + data[place + len(claim) :])
    assert (row / FILE).stat().st_size < 100_000
    return rehash(row)


def schema(row: Path) -> pa.Schema:
    return pq.read_schema(row / FILE)


def varint(number: int, length: int = 0) -> bytes:
    """Return a number as Parquet's metadata have it, of at least `length` bytes."""
    left, found = number << 1, []
    while left or len(found) < length:
        found.append(left & 0x7F)
        left >>= 7
    return bytes([*(byte | 0x80 for byte in found[:-1]), found[-1]])


def unknown_codec(row: Path) -> Path:
    """Name a compression that there is not: pyarrow ends the process that asks for it."""
    data = (row / FILE).read_bytes()
    start = data.rindex(b"\x19\x18\x04cell\x15\x00")
    (row / FILE).write_bytes(data[: start + 8] + b"\x7f" + data[start + 9 :])
    return rehash(row)


def with_nulls(column: str) -> Change:
    """Return a change that leaves out a value of a column."""

    def change(row: Path) -> Path:
        columns = pq.read_table(row / FILE).to_pydict()
        columns[column][2] = None
        table = pa.Table.from_pydict(columns, schema=schema(row))
        pq.write_table(table, row / FILE, compression="none")
        return rehash(row)

    return change


def count_of(column: str, value: Any, place: int = 3) -> Change:
    """Return a change of one value of the counts."""
    return edited_counts(lambda columns: columns[column].__setitem__(place, value))


def all_accepted(columns: dict[str, list[Any]]) -> None:
    """Test no token but those that were accepted, for an acceptance rate of 1."""
    columns["tested"] = list(columns["accepted"])


def places_of(columns: dict[str, list[Any]]) -> list[tuple[Any, ...]]:
    """Return cell, temperature, block length, rule and prompt of each row of counts."""
    return list(zip(*(columns[name] for name in (*KEYS, "prompt")), strict=True))


def longer_than_the_limit(columns: dict[str, list[Any]]) -> None:
    """Add tokens to every text, all of them accepted: the counts still add up."""
    for place, gamma in enumerate(columns["gamma"]):
        passes = LIMIT / (gamma + 1)
        columns["tokens"][place] += LIMIT
        columns["passes"][place] += passes
        for name in ("accepted", "tested", "drafted"):
            columns[name][place] += passes * gamma


def relabelled(source: float, target: float) -> Change:
    """Return a change that has the counts of one temperature at another one too."""

    def change(columns: dict[str, list[Any]]) -> None:
        places = {key: place for place, key in enumerate(places_of(columns))}
        for (cell, temperature, gamma, _, prompt), place in places.items():
            if temperature == target:
                for name in COUNTED:
                    other = places[cell, source, gamma, False, prompt]
                    columns[name][place] = columns[name][other]

    return edited_counts(change)


def one_seed_twice(columns: dict[str, list[Any]]) -> None:
    """Repeat the counts of seed 0 as those of seed 1."""
    places = {key: place for place, key in enumerate(places_of(columns))}
    for (cell, *key), place in places.items():
        for name in COUNTED:
            columns[name][place] = columns[name][places[cell // 2 * 2, *key]]


def with_footer(metadata: dict[str, str], of_column: bool = False) -> Change:
    """Return a change that hides text in the file of counts, where no reader of columns looks."""

    def change(row: Path) -> Path:
        table = pq.read_table(row / FILE)
        if of_column:
            table = table.cast(pa.schema([it.with_metadata(metadata) for it in table.schema]))
        else:
            table = table.replace_schema_metadata(metadata)
        pq.write_table(table, row / FILE, compression="none")
        return rehash(row)

    return change


def text_column(row: Path) -> Path:
    table = pq.read_table(row / FILE)
    table = table.append_column("text", pa.array(["a prompt"] * table.num_rows))
    pq.write_table(table, row / FILE, compression="none")
    return rehash(row)


def title_twice(row: Path) -> Path:
    """Write a key twice: readers disagree on which one counts."""
    found = (row / RESULTS).read_text()
    (row / RESULTS).write_text(found.replace('"title":', '"title": "Another", "title":', 1))
    return rehash(row)


def one_more_hash(row: Path) -> Path:
    with (row / SUMS).open("a") as file:
        file.write(f"{'0' * 64}  ../../../../../etc/passwd\n")
    return row.rename(row.with_name(content_hash(row)))


def link_to_a_submission(row: Path) -> Path:
    row.symlink_to(row.rename(row.parents[3] / "elsewhere"))
    return row


def to_other_case(row: Path) -> Path:
    """Submit a draft of the target in capitals, which some file systems take for the same."""
    new = row.parent.parent.with_name("Tiny-Target") / row.parent.name / row.name
    shutil.copytree(row, new)
    return setting("manifest/submission/target", "Tiny-Target")(new)


def link_of_folder(row: Path) -> Path:
    """Replace a draft's folder by a link to it."""
    moved = row.parent.rename(row.parent.parent.parent.parent / "elsewhere")
    row.parent.symlink_to(moved)
    return row.parent


def one_more_folder(row: Path) -> Path:
    (row / "records" / "more").mkdir()
    return row


def pipe(row: Path) -> Path:
    """Put a pipe in place of a file, which nothing ever writes to."""
    (row / FILE).unlink()
    os.mkfifo(row / FILE)
    return row


def as_json(text: str) -> Change:
    """Return a change of the document's text: of a number that JSON does not have, or too long."""

    def change(row: Path) -> Path:
        found = (row / RESULTS).read_text()
        (row / RESULTS).write_text(found.replace('"seed": 0', f'"seed": {text}', 1))
        return rehash(row)

    return change


ARABIC_DAY = "-".join("\u0662" * n for n in (4, 2, 2))  # digits, as `isdigit` has it
RIGHT_TO_LEFT, ZERO_WIDTH = "\u202e", "\u200b"
TEST_ROWS, OTHER_TEST_ROWS = (small_suite().tasks[name].digest for name in ("gsm8k", "mbpp"))
TUNED = {
    "texts": [{"label": "train", "rows": TEST_ROWS, "writer": "dataset"}],
    "ledger": {"steps": 1, "rows": 1, "supervised_tokens": 1, "flops": 1.0, "train_s": 1.0},
}
KEY = "block_efficiency[t=0,gamma=4]"
STANDING = {
    "contender": {"task": "gsm8k", "pair": "tiny", "method": "kd"},
    "quantity": KEY,
    "letters": "a",
    "behind": None,
}
NUMBER = {"value": 99.0, "low": None, "high": None, "n": 8, "definition": "how fast"}


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (setting(f"results/0/numbers/{KEY}/value", 4.9), "numbers", "claimed as 4.9000"),
        (setting(f"pooled/0/numbers/{KEY}/value", 4.9), "numbers", "its counts give"),
        (setting(f"results/0/numbers/{KEY}/low", 1.0), "numbers", "claimed as"),
        (setting(f"results/0/numbers/{KEY}/n", 600), "numbers", "n = 600"),
        (setting("results/0/numbers/tokens_s", NUMBER), "numbers", "is no number of a board"),
        (setting("results/0/provenance/scored_texts", []), "prompts", "on other prompts than"),
        (setting("manifest/versions/torch", "<b>2</b>"), "names", "has markup"),
        (edited_counts(more_tested), "counts", "more tokens were tested than drafted"),
        (edited_counts(accept_more), "counts", "do not add up"),
        (edited_counts(accept_more_consistently), "numbers", "its counts give"),
        (edited_counts(repeat_a_prompt), "counts", "a prompt is there more than once"),
        (lambda row: tamper(row, repeat_a_row), "rows", "is there 2 times"),
        (submit_again, "duplicates", "it repeats submissions/tiny-target/tiny--kd/"),
        (setting("data/0/digest/test", "1" * 64), "prompts", "on other prompts than those of"),
        (
            setting("results/0/provenance/scored_texts/0/rows", "1" * 64),
            "prompts",
            "on other prompts than those of small-suite",
        ),
        (setting("data/0/target_digest", "1" * 64), "target", "the hashes of their files differ"),
        (
            lambda row: tamper(
                row,
                lambda document: (
                    [facts.update(target_digest="1" * 64) for facts in document["data"]] and None
                ),
            ),
            "target",
            "its target's files are not those of tiny-target on this board",
        ),
        (move_to_other_target, "names", "lies in a folder of big-target"),
        (
            setting("results/0/provenance/draft_texts/0/rows", TEST_ROWS),
            "findings",
            "kd (seed 0) was trained on test rows",
        ),
        (setting("results/0/provenance/draft_texts", []), "findings", "that it does not name"),
        (
            setting("findings", [{"severity": "error", "subject": "gsm8k, tiny", "text": "leaks"}]),
            "findings",
            "gsm8k, tiny: leaks",
        ),
        (break_hashes, "hashes", "results.json is not what results.sha256 says"),
        (rename_folder, "hashes", "must be named"),
        (setting("results/0/cell/method", "<script>alert(1)</script>"), "names", "has markup"),
        (setting("title", "../../etc"), "names", "dots that lead upwards"),
        (setting("manifest/submission/draft", "../../mine"), "schema", "draft"),
        (setting("results/0/cell/method", "x" * 2_000_000), "files", "1 MB at most"),
        (setting("results/0/cell/method", "x" * 10_000), "names", "10000 characters"),
        (compressed_bomb, "files", "claims"),
        (many_rows, "files", "claims 200000 rows"),
        (sparse_file, "files", "sparse file"),
        (deep_nesting, "schema", "results.json cannot be read"),
        (one_more_file, "files", "run.sh does not belong"),
        (link_out, "files", "is a link"),
        (rename_row, "duplicates", "under another name"),
        (setting("manifest/submission/suite", "small-suite-0"), "suite", "is not a suite of"),
        (setting("manifest/submission/suite_digest", "1" * 64), "suite", "the hashes differ"),
        (setting("results/0/provenance/text_digests", {}), "conditions", "hash of its texts"),
        (setting("results/0/provenance/entries/0/inputs", {}), "schema", "cannot be read"),
        (setting("manifest/submission", None), "schema", "cannot be read"),
        (claim_fewer_rows, "schema", "its parts have not the rows that it claims"),
        (unknown_codec, "schema", "cannot be read"),
        (with_nulls("passes"), "schema", "a count is missing"),
        (with_nulls("cell"), "schema", "a count is missing"),
        (count_of("accepted", float("nan")), "counts", "negative, not finite or larger"),
        (count_of("passes", float("inf")), "counts", "negative, not finite or larger"),
        (count_of("drafted", -1.0), "counts", "negative, not finite or larger"),
        (count_of("tokens", 1e300), "counts", "negative, not finite or larger"),
        (count_of("drafted", 9e8), "counts", "more tokens were drafted than blocks hold"),
        (count_of("temperature", float("nan")), "conditions", "temperature nan has other"),
        (count_of("gamma", 3), "conditions", "has other conditions than small-suite"),
        (count_of("cell", 77), "counts", "its prompts are not the 8"),
        (count_of("prompt", -1), "counts", "its prompts are not the 8"),
        (edited_counts(all_accepted), "counts", "more tokens went untested than refusals"),
        (setting("title", f"kd {RIGHT_TO_LEFT}dk"), "names", "control characters"),
        (setting("results/0/cell/pair", f"ti{ZERO_WIDTH}ny"), "names", "control characters"),
        (setting("manifest/submission/draft", "\u043ad"), "schema", "draft"),
        (setting("manifest/submission/date", "2026-02-30"), "date", "which is no day"),
        (setting("manifest/submission/date", ARABIC_DAY), "schema", "date"),
        (setting("results/0/records", "../../../.."), "rows", "name records or failures"),
        (setting("results/0/records", "records"), "rows", "name records or failures"),
        (setting("results/0/history", [{"step": 1.0}]), "rows", "name records or failures"),
        (setting("pooled/0/contender/method", "lk"), "rows", "pooled numbers of another draft"),
        (setting("standings", [STANDING]), "rows", "it has comparisons with other drafts"),
        (
            edited_counts(longer_than_the_limit),
            "counts",
            "longer than its limit of 256 tokens",
        ),
        (relabelled(1.0, 0.0), "counts", "no whole number, so it is of another temperature"),
        (relabelled(0.0, 1.0), "counts", "gsm8k: the counts at temperature 1 are those at"),
        (edited_counts(one_seed_twice), "counts", "the counts of seed 1 are those of seed 0"),
        (
            setting("results/0/provenance/draft_texts/0/rows", OTHER_TEST_ROWS),
            "findings",
            "its draft was trained on test rows, mbpp of small-suite",
        ),
        (
            setting("data/0/fine_tuning", TUNED),
            "findings",
            "its target was trained on test rows, gsm8k of small-suite",
        ),
        (text_column, "schema", "its columns are not those of counts"),
        (with_footer({"prompts": "a prompt"}), "schema", "its footer has text"),
        (with_footer({"prompts": "a prompt"}, of_column=True), "schema", "are not those of counts"),
        (setting("prompts", ["a prompt"]), "schema", "of this draftmark have no key 'prompts'"),
        (setting("results/0/text", "a response"), "schema", "of this draftmark have no key 'text'"),
        (title_twice, "schema", "the key 'title' is there twice"),
        (one_more_hash, "hashes", "has more lines than those of results.json and"),
        (setting("data/0/max_new_tokens", "64"), "schema", "max_new_tokens: Input should be"),
        (link_to_a_submission, "files", "is not a folder <target>/<draft>/<hash>"),
        (to_other_case, "target", "Tiny-Target and tiny-target of this board differ by upper"),
        (link_of_folder, "files", "is not a folder <target>/<draft>/<hash>"),
        (one_more_folder, "files", "more does not belong"),
        (pipe, "files", "is a FIFO, not a plain file"),
        (as_json("NaN"), "schema", "cannot be read"),
        (as_json("1e999"), "schema", "cannot be read"),
        (as_json("9" * 5000), "schema", "cannot be read"),
    ],
)
def test_a_dishonest_submission_is_named_for_what_it_is(
    board: Path, change: Change, check: str, words: str
) -> None:
    where = change(row_of(board))

    [found] = refused(board)
    assert found.path == where.relative_to(board).as_posix()
    assert check in {fault.check for fault in found.faults}
    assert any(words in fault.text for fault in found.faults), found.faults
    assert all(len(line.splitlines()) == 1 for line in found.lines())


def swapped(name: str, *, rehashed: bool) -> Callable[[Path, Path], Any]:
    """Return a change that swaps a file of two submissions."""

    def change(one: Path, other: Path) -> None:
        first, second = (one / name).read_bytes(), (other / name).read_bytes()
        (one / name).write_bytes(second)
        (other / name).write_bytes(first)
        if rehashed:
            rehash(one), rehash(other)

    return change


def swap_folders(one: Path, other: Path) -> None:
    first, second = one.parent, other.parent
    moved = first.rename(first.with_name("moved"))
    second.rename(first)
    moved.rename(second)


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (swapped(RESULTS, rehashed=False), "hashes", "results.json is not what"),
        (swapped(FILE, rehashed=False), "hashes", "records/counts.parquet is not what"),
        (swapped(RESULTS, rehashed=True), "names", "lies in a folder of"),
        (swapped(FILE, rehashed=True), "numbers", "its counts give"),
        (swap_folders, "names", "lies in a folder of"),
    ],
)
def test_results_that_are_swapped_are_named_in_both_submissions(
    board: Path, change: Callable[[Path, Path], Any], check: str, words: str
) -> None:
    change(row_of(board, "tiny--kd"), row_of(board, "tiny--lk"))

    found = refused(board)
    assert [item.path.split("/")[2] for item in found] == ["tiny--kd", "tiny--lk"]
    for item in found:
        assert [fault.check for fault in item.faults] == [check] * len(item.faults)
        assert words in item.faults[0].text


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_folders_have_one_form(board: Path, form: Literal["NFC", "NFD"]) -> None:
    """Two forms of an accent are two folders here, and one folder where a reader checks them."""
    name = unicodedata.normalize(form, "tiny--k\u00e9")
    new = row_of(board).parent.rename(board / "submissions" / "tiny-target" / name)
    setting("manifest/submission/draft", name)(next(new.iterdir()))

    [found] = refused(board)
    assert [fault.check for fault in found.faults] == ["schema"]
    assert "draft" in found.faults[0].text


def test_a_row_may_claim_nothing(board: Path) -> None:
    """What the site shows is computed from counts, whatever the row claims."""

    def claim_nothing(document: dict[str, Any]) -> None:
        for item in (*document["results"], *document["pooled"]):
            item["numbers"] = {}

    tamper(row_of(board), claim_nothing)

    assert refused(board) == []


def test_rows_of_an_older_suite_are_refused_and_stand_where_a_board_lists_it(
    honest: Path, tmp_path: Path
) -> None:
    older = replace(small_suite(prompts=4), name="older-suite")
    board_run(tmp_path / "run", {"csd": [0.6]}, older)
    board = Path(shutil.copytree(honest, tmp_path / "board"))
    with pytest.raises(UserError, match="on other prompts than those of small-suite"):
        list(submit_run(tmp_path / "run", open_board(board)))

    old_board = make_board(tmp_path / "old", [older])
    [place] = submit_run(tmp_path / "run", open_board(old_board))
    shutil.copytree(old_board / place, board / place)

    [found] = refused(board)
    assert [fault.check for fault in found.faults] == ["suite"]
    make_board(board, [small_suite(), older])
    assert refused(board) == []


def test_the_same_draft_under_new_versions_is_no_copy(board: Path) -> None:
    row = row_of(board)
    shutil.copytree(row, row.with_name("copy"))
    setting("manifest/versions/torch", "2.14.0")(row.with_name("copy"))

    assert refused(board) == []


def test_texts_of_one_hash_have_one_length(board: Path) -> None:
    def longer(columns: dict[str, list[Any]]) -> None:
        for place, prompt in enumerate(columns["prompt"]):
            if prompt == 0:
                columns["tokens"][place] += 1
                columns["passes"][place] += 1

    def rename(document: dict[str, Any]) -> None:
        document["manifest"]["submission"]["date"] = "2026-02-01"
        for row in (*document["results"], *document["pooled"]):
            row["numbers"] = {}

    tamper(row_of(board), rename, longer)

    [found] = refused(board)
    assert {fault.check for fault in found.faults} == {"texts"}


def test_a_rerun_is_checked_too(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = row_of(board)
    rerun = board / "reruns" / row.relative_to(board)
    shutil.copytree(row, rerun)
    done = run_command(capsys, "board", "check", board)
    assert done.code == 0, done
    assert done.out.splitlines()[-1] == "3 submissions and 1 rerun, 0 refused"

    break_hashes(rerun)

    done = run_command(capsys, "board", "check", board)
    assert done.code == 1
    assert f"REFUSED  {rerun.relative_to(board)}: hashes: " in done.out


def test_a_stray_file_is_named(board: Path) -> None:
    (board / "submissions" / "README.md").write_text("hello")

    [found] = refused(board)
    assert found.lines() == [
        "REFUSED  submissions/README.md: files: it is not a folder <target>/<draft>/<hash> of "
        "submissions"
    ]


def test_a_run_of_other_prompts_is_refused_before_it_is_packed(tmp_path: Path) -> None:
    board_run(tmp_path / "run", {"kd": [0.5]}, small_suite(prompts=4))
    board = make_board(tmp_path / "board")

    with pytest.raises(UserError, match="measured on other prompts"):
        list(submit_run(tmp_path / "run", open_board(board)))
    assert not (board / "submissions").exists()


def test_a_second_submit_says_that_the_row_is_there(honest: Path, board: Path) -> None:
    with pytest.raises(UserError, match=r"there already|it repeats"):
        list(submit_run(honest.parent / "run", open_board(board), ["kd"]))


def test_a_run_with_edited_numbers_is_not_submitted(honest: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(honest.parent / "run", tmp_path / "run"))
    document = json.loads((run / RESULTS).read_text())
    document["results"][0]["numbers"][KEY]["value"] = 4.9
    (run / RESULTS).write_text(json.dumps(document))
    (run / SUMS).unlink()
    board = make_board(tmp_path / "board")

    found = []
    with pytest.raises(UserError, match=r"untrained.*numbers: gsm8k: block_efficiency"):
        found += submit_run(run, open_board(board))
    assert [place.split("/")[2] for place in found] == ["tiny--kd", "tiny--lk"]


def test_published_counts_are_submitted_as_their_run_is(
    honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts to publish are rounded, so the numbers of the row are computed again from them."""
    file = tmp_path / "mine.parquet"
    run = Path(shutil.copytree(honest.parent / "run", tmp_path / "run"))
    render_reports(load_results(run), run, ["counts"])
    (run / "counts.parquet").rename(file)
    board = make_board(tmp_path / "board")

    done = run_command(capsys, "submit", file, "--to", board, "--methods", "kd")

    assert done.code == 0, done
    [row], first = sound_rows(board), read_submission(row_of(honest))
    assert row.results.data == first.results.data
    assert row.counts.keys() == first.counts.keys()
    for at, own in row.counts.items():
        for column, counts_B in own.columns.items():
            np.testing.assert_allclose(counts_B, first.counts[at].columns[column], atol=5e-5)
    assert [it.numbers for it in row.results.pooled] == list(row.numbers.values())


def test_a_method_with_a_comma_in_its_label_is_named_among_others() -> None:
    known = ["kd", "eagle3", "eagle3, 3.1's norms", "a, b"]

    assert list(_named(["eagle3", "3.1's norms", "kd", "eagle3"], known)) == [
        "eagle3, 3.1's norms",
        "kd",
        "eagle3",
    ]
    with pytest.raises(UserError, match=r"method.*'b'"):
        list(_named(["a", "b", "b"], known))


def test_a_recipe_without_a_run_is_no_file_of_counts(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text('title = "mine"')

    done = run_command(capsys, "submit", tmp_path / "mine.toml", "--to", board)

    assert "has no results.json" in sentence_of(done)


def _git(board: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", *who, "-C", str(board), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda board: (board / "submissions/t/d/h").mkdir(parents=True), 0),
        (lambda board: (board / "README.md").write_text("mine"), 1),
        (lambda board: shutil.rmtree(next((board / "submissions").glob("*/*"))), 1),
        (lambda board: (row_of(board) / RESULTS).write_text("{}"), 1),
    ],
)
def test_the_template_takes_new_submissions_alone(
    honest: Path, tmp_path: Path, change: Callable[[Path], Any], code: int
) -> None:
    """The workflow's own lines, in a fresh repository."""
    board = tmp_path / "board"
    for name, content in template_files().items():
        (board / name).parent.mkdir(parents=True, exist_ok=True)
        (board / name).write_bytes(content)
    shutil.copytree(honest / "submissions", board / "submissions", dirs_exist_ok=True)
    _git(board, "init", "-q")
    _git(board, "add", "-A")
    _git(board, "commit", "-qm", "a board")
    base = _git(board, "rev-parse", "HEAD")
    change(board)
    (board / "submissions" / "t.txt").write_text("new")
    _git(board, "add", "-A")
    _git(board, "commit", "-qm", "a change")

    steps = yaml.safe_load((board / ".github/workflows/board.yml").read_text())["jobs"]["check"]
    [script] = [step["run"] for step in steps["steps"] if "BASE" in step.get("env", {})]
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=board, env={**os.environ, "BASE": base}, check=False
    )

    assert done.returncode == code
    assert open_board(board).suite.name == "draftmark-suite-1"
    commands = [step["run"] for step in steps["steps"] if "draftmark board" in step.get("run", "")]
    assert [words.split()[2] for words in commands] == ["check", "build"]
