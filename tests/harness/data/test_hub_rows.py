"""Rows of tasks on a local hub: which files are asked for, and what the rows are called."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_hub import Fault, LocalHub, add_gsm8k, parquet, run_draftmark, serve_hub, sums

from draftmark.data.hub_rows import HubSplit, parse_item, parse_slice
from draftmark.errors import UserError
from draftmark.registry import find_registered, registered_names

HUB_ROWS = ["data", "check", "gsm8k", "--source", "hub"]
# Prints, of one split after the other, the source, the first and last row, and files with hashes.
SPLITS = """
import json, sys
from draftmark.data.rows import load_rows
from draftmark.progress import Progress
from draftmark.registry import find_registered

for split, count in json.loads(sys.argv[1]):
    rows = load_rows(
        find_registered("tasks", "gsm8k"), split, count, sources=["hub"], progress=Progress()
    )
    ends = [rows.examples[at].messages[0]["content"] for at in (0, -1)]
    print(json.dumps([rows.source, ends, rows.hub_facts["files"]]))
"""


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with serve_hub() as server:
        add_gsm8k(server)
        yield server


def _asked(hub: LocalHub) -> list[str]:
    """Return the requests since the last call: method, kind, and the file's name."""
    return [
        f"{ask.method} {ask.path.split('?')[0].split('/')[-1].partition('-of-')[0]}"
        for ask in hub.take_requests()
    ]


def test_rows_are_asked_for_once_and_held_against_the_hubs_hashes(
    hub: LocalHub, tmp_path: Path
) -> None:
    """The first run, then with a broken hub, offline, and with a byte changed in the cache."""
    commit = find_registered("tasks", "gsm8k").hub.revision
    (tmp_path / "openai" / "gsm8k").mkdir(parents=True)  # what the client once took for the hub
    (tmp_path / "openai" / "gsm8k" / "test.jsonl").write_text(json.dumps(sums(1)[0]))
    get_file = [f"{method} %s" for method in ("HEAD", "GET")]
    files = ["test-00000", "train-00000", "train-00001"]

    first = run_draftmark(hub, tmp_path, *HUB_ROWS)
    asked = _asked(hub)
    assert first.returncode == 0, first.stderr
    assert asked[0] == f"GET {commit}"
    assert sorted(asked[1:]) == sorted(line % file for line in get_file for file in files)
    assert "Fetching 3 files (" in first.stderr
    for split, rows in {"train": 40, "validation": 300, "test": 40}.items():
        assert f"{split:10} hub openai/gsm8k@{commit[:7]}: {rows} rows, {rows} ex" in first.stdout

    hub.faults.append(Fault(".", status=503))
    again = run_draftmark(hub, tmp_path, *HUB_ROWS)
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")

    (file,) = tmp_path.glob("huggingface/hub/*/snapshots/*/main/test-*")
    data = file.read_bytes()
    file.write_bytes(bytes([data[0], data[1] ^ 1, *data[2:]]))
    offline = run_draftmark(hub, tmp_path, *HUB_ROWS, HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout) == (2, "")
    assert offline.stderr == (
        f"draftmark: {file} does not have the hash that the hub lists, and HF_HUB_OFFLINE is set; "
        "unset it to fetch the file again.\n"
    )
    assert _asked(hub) == []

    hub.faults.clear()
    healed = run_draftmark(hub, tmp_path, *HUB_ROWS)
    assert (healed.returncode, healed.stdout) == (0, first.stdout)
    assert _asked(hub) == ["HEAD test-00000", "GET test-00000"]
    assert file.read_bytes() == data


def test_only_the_files_of_a_split_are_fetched_and_rows_are_the_slice(
    hub: LocalHub, tmp_path: Path
) -> None:
    wanted = [["test", 2], ["train", 40], ["validation", 300]]
    child = subprocess.run(
        [sys.executable, "-c", SPLITS, json.dumps(wanted)],
        env=hub.environment(tmp_path),
        capture_output=True,
        text=True,
    )

    assert child.returncode == 0, child.stderr
    test, train, validation = map(json.loads, child.stdout.splitlines())
    assert {found[0] for found in (test, train, validation)} == {"hub openai/gsm8k@cc7b047"}
    assert test[1] == ["What is 10000 + 10001?", "What is 10001 + 10002?"]
    assert train[1] == ["What is 0 + 1?", "What is 39 + 40?"]
    assert validation[1] == ["What is 40 + 41?", "What is 339 + 340?"]
    (held,) = hub.repositories["datasets/openai/gsm8k"].commits.values()
    assert test[2] == {path: held[path].sha256 for path in held if "test" in path}
    assert (
        train[2] == validation[2] == {path: held[path].sha256 for path in held if "train" in path}
    )
    get_file = ["HEAD {}", "GET {}"]
    files = [line.format(name) for name in ("test-00000", "train-00000") for line in get_file]
    assert _asked(hub)[1:] == [*files, "HEAD train-00001", "GET train-00001"]


PROMPTS = """
import sys
from draftmark.config.sections import TaskRows
from draftmark.data.own_rows import task_with_rows
from draftmark.data.rows import load_rows
from draftmark.progress import Progress
from draftmark.registry import find_registered

rows = TaskRows(
    dataset="org/asked", revision=sys.argv[1], splits={"test": "train[1:]"}, files=sys.argv[2],
    columns={"prompt": "question", "category": "kind"},
)
task = task_with_rows(find_registered("tasks", "prompts"), rows)
found = load_rows(task, "test", 2, sources=["hub"], progress=Progress())
print(found.source, [(one.messages[0]["content"], one.category) for one in found.examples])
"""


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_recipe_names_a_data_set_of_prompts_and_its_columns(
    kind: str, hub: LocalHub, tmp_path: Path
) -> None:
    rows = [
        {"question": f"Question {n}?", "kind": "even" if n % 2 == 0 else "odd"} for n in range(3)
    ]
    commit = "ab" * 20
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    data = parquet(rows) if kind == "parquet" else lines
    hub.add("datasets/org/asked", {f"data/train-0.{kind}": data}, commit=commit)
    child = subprocess.run(
        [sys.executable, "-c", PROMPTS, commit, f"*{{split}}*.{kind}"],
        env=hub.environment(tmp_path),
        capture_output=True,
        text=True,
    )

    assert child.stdout == (
        "hub org/asked@abababa, format prompt [('Question 1?', 'odd'), ('Question 2?', 'even')]\n"
    ), child.stderr


RECIPE = """
title = "Own"
tasks = ["gsm8k"]
methods = [{{ name = "untrained" }}]

[[pairs]]
name = "tiny"
target = "tiny-target"
draft = {{ pruned = [0, 7], head = "copied" }}

[data]
{}
"""


def test_samples_answer_only_where_a_recipe_names_them(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(RECIPE.format("test_rows = 8"))
    with serve_hub() as empty:
        outcome = run_draftmark(empty, tmp_path, "run", "own.toml")

    assert outcome.returncode == 2
    assert "samples" not in outcome.stderr + outcome.stdout
    assert outcome.stderr.endswith(
        f"Tried hub: {empty.address} has no data set openai/gsm8k that is public; check the name, "
        "or, if it is private, set HF_TOKEN to a token; directory: DRAFTMARK_DATA is not set. Set "
        "--data or DRAFTMARK_DATA to a folder with gsm8k/test.jsonl.gz.\n"
    )


def test_a_plan_asks_the_hub_nothing(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(RECIPE.format('sources = ["hub"]'))

    planned = run_draftmark(hub, tmp_path, "plan", "own.toml")

    assert planned.returncode == 0, planned.stderr
    assert "hub: openai/gsm8k@cc7b047 is not in the cache" in planned.stderr
    assert _asked(hub) == []


def test_ctrl_c_ends_a_download(hub: LocalHub, tmp_path: Path) -> None:
    """One that would take several minutes: half a second on an idle machine."""
    slow = Fault("GET /storage", rate=50)
    hub.faults.append(slow)
    command = [sys.executable, "-m", "draftmark", *HUB_ROWS]
    child = subprocess.Popen(
        command, env=hub.environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not slow.seen:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)

    _, stderr = child.communicate(timeout=60)

    assert child.returncode == 130, stderr
    assert b"Traceback" not in stderr
    assert not list(tmp_path.rglob("*.incomplete"))


def test_every_task_of_the_hub_names_its_files_and_slices_of_a_commit() -> None:
    tasks = [find_registered("tasks", name) for name in registered_names("tasks")]
    places = [task.hub for task in tasks if task.hub]

    assert len(places) >= 7
    for place in places:
        assert len(place.revision) == 40
        assert place.files.format(split="test").endswith(("/test-*.parquet", ".jsonl"))
        for text in place.splits.values():
            assert parse_slice(text)[0] in ("train", "validation", "test", "prompt")


bounds = st.none() | st.integers(-9, 9)


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=3), start=bounds, stop=bounds)
def test_a_slice_of_several_files_is_the_slice_of_all_their_rows(
    sizes: list[int], start: int | None, stop: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"text": str(number)} for number in range(sum(sizes))]
    copies = []
    for index, size in enumerate(sizes):
        copies.append(folder / f"{index}.parquet")
        first = sum(sizes[:index])
        copies[-1].write_bytes(parquet(rows[first : first + size], rows_per_group=2))
    text = f"train[{'' if start is None else start}:{'' if stop is None else stop}]"
    name, wanted = parse_slice(text)

    assert name == "train"
    assert list(HubSplit(tuple(copies), wanted, {})) == rows[start:stop]


@pytest.mark.parametrize("text", ["train", "train[:2]", "train[-2:]", "train[1:4]", "train[9:]"])
def test_json_lines_have_the_slices_of_parquet(text: str, tmp_path: Path) -> None:
    rows = [{"text": str(number)} for number in range(5)]
    parts = (rows[:2], rows[2:])
    lines = [tmp_path / f"{index}.jsonl" for index in range(2)]
    tables = [tmp_path / f"{index}.parquet" for index in range(2)]
    for index, part in enumerate(parts):
        lines[index].write_text("".join(json.dumps(row) + "\n\n" for row in part), "utf-8")
        tables[index].write_bytes(parquet(part))
    wanted = parse_slice(text)[1]

    found = [parse_item(item) for item in HubSplit(tuple(lines), wanted, {})]

    assert found == list(HubSplit(tuple(tables), wanted, {})) == rows[wanted]


@pytest.mark.parametrize("text", ["", "train[", "train[1]", "train[:10%]", "train[::2]", "[1:2]"])
def test_what_is_not_a_slice_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a slice of a split"):
        parse_slice(text)


def test_only_the_row_groups_in_use_are_read(tmp_path: Path) -> None:
    rows = [{"text": f"{number} " * 100} for number in range(40)]
    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet(rows, rows_per_group=10))
    third = pyarrow.parquet.ParquetFile(path).metadata.row_group(2).column(0)
    with path.open("r+b") as file:
        file.seek(third.dictionary_page_offset)
        file.write(bytes(third.total_compressed_size))

    def read(wanted: slice) -> list[dict[str, str]]:
        return list(HubSplit((path,), wanted, {}))

    assert read(slice(0, 20)) == rows[:20]
    assert read(slice(-10, None)) == rows[30:]
    with pytest.raises(UserError, match=f"{tmp_path} has unreadable parquet: "):
        read(slice(None))
