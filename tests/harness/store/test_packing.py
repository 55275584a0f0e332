"""Packs: what a run needs in a small folder, what a store makes of it, and hostile ones."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.cli import main
from draftmark.errors import UserError
from draftmark.pipeline.executor import ensure, execute
from draftmark.pipeline.journal import Journal
from draftmark.pipeline.status import standing
from draftmark.progress import Progress
from draftmark.store import garbage_collection
from draftmark.store.entries import ENTRY, LIGHT, SEAL, Damaged, files_in, seal
from draftmark.store.graph import Job, Node, digest, topological
from draftmark.store.packing import Moved, pack, unpack
from draftmark.store.run_locks import held
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
RUN = "mine-01234567"
HEAVY = {"model.safetensors", "hidden.bin"}


@dataclass
class Bench:
    """Stages as a run has them: what was made is noted; weights may come out otherwise, or fail."""

    made: list[str] = field(default_factory=list)
    weights: bytes = bytes(10_000)
    broken: str = ""

    def node(self, stage: str, name: str, files: Callable[[], dict[str, bytes]], *of: Node) -> Node:
        def build(job: Job) -> None:
            if name == self.broken:
                raise UserError(f"{name} cannot be made.")
            self.made.append(name)
            assert all(
                (job.inputs[node.label] / file).exists() for node in of for file in _heavy(node)
            )
            for file, content in files().items():
                (job.out / file).write_bytes(content)

        return Node(stage, name, {"name": name}, {node.label: node for node in of}, (), build)

    def scores(self, temperature: int) -> Node:
        """Return a draft's scores at a temperature, with all that they rest on."""
        texts = self.node("responses", "texts", lambda: {"texts.parquet": b"texts"})
        states = self.node(
            "features", "states", lambda: {"hidden.bin": bytes(9), "texts.parquet": b"texts"}, texts
        )
        draft = self.node("draft", "draft", self._draft, states)
        name = f"scores {temperature}"
        table = {"tables.parquet": name.encode()}
        return self.node("scores", name, lambda: table, draft, states)

    def _draft(self) -> dict[str, bytes]:
        facts = json.dumps({"attempt": len(self.made)}).encode()  # as seconds: never the same
        return {"model.safetensors": self.weights, "draft.json": facts}


def _heavy(node: Node) -> list[str]:
    return {"draft": ["model.safetensors"], "features": ["hidden.bin"]}.get(node.stage, [])


def _stored(root: Path, bench: Bench) -> Store:
    """Return the store of a run that ended at temperature 0."""
    store = Store(root)
    nodes = [bench.scores(0)]
    with held(store, root.parent / RUN, topological(nodes)):
        assert execute(nodes, store, QUIET) == {}
    bench.made.clear()
    return store


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def here(tmp_path: Path, bench: Bench) -> Store:
    return _stored(tmp_path / "here" / "store", bench)


@pytest.fixture
def packed(tmp_path: Path, here: Store) -> Path:
    pack(here, RUN, tmp_path / "pack")
    return tmp_path / "pack"


@pytest.fixture
def there(tmp_path: Path, packed: Path) -> Store:
    """Return the store of another machine that has nothing but the pack."""
    store = Store(tmp_path / "there")
    unpack(packed, store)
    return store


def _bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_a_pack_has_no_weights_and_no_states_and_every_other_file_once(
    packed: Path, here: Store
) -> None:
    contents = [path.read_bytes() for path in (packed / "files").iterdir()]

    assert sorted(contents) == [b"scores 0", b"texts", b'{"attempt": 3}']  # texts: of two entries
    assert (
        len(list(packed.glob(f"entries/*/*/{ENTRY}"))) == len(garbage_collection.results(here)) == 4
    )


def test_packing_again_and_packing_what_was_unpacked_give_the_same_bytes(
    tmp_path: Path, packed: Path, here: Store, there: Store, bench: Bench
) -> None:
    first = _bytes(packed)
    with held(there, tmp_path / RUN, topological([bench.scores(0)])):
        pass

    for number, store in enumerate((here, here, there)):
        pack(store, RUN, tmp_path / f"again{number // 2}")
        assert _bytes(tmp_path / f"again{number // 2}") == first


def test_what_is_light_is_finished_for_what_does_not_read_what_was_left_out(
    there: Store, bench: Bench
) -> None:
    assert execute([bench.scores(0)], there, QUIET) == {}

    assert bench.made == []
    draft = bench.scores(0).inputs["draft"]
    assert set(there.load(draft).files) == {"draft.json", "model.safetensors"}
    assert not (there.directory(draft) / "model.safetensors").exists()
    assert [wrong for _, wrong in garbage_collection.verify(there)] == [""] * 4


def test_what_something_is_to_be_made_of_is_made_again_as_it_was(
    there: Store, here: Store, bench: Bench
) -> None:
    new = bench.scores(1)
    missing = there.missing([bench.scores(0), new])
    assert [node.label for node in missing.values()] == ["states", "draft", "scores 1"]

    assert execute([bench.scores(0), new], there, QUIET) == {}

    assert bench.made == ["states", "draft", "scores 1"]
    for node in topological([bench.scores(0)]):  # when and where it was made, too
        assert _bytes(there.directory(node)) == _bytes(here.directory(node))
    assert there.missing([new]) == {}


def test_what_comes_out_otherwise_stands_in_place_of_the_light_one(
    there: Store, bench: Bench
) -> None:
    bench.weights = bytes(9_999) + b"x"
    draft = bench.scores(0).inputs["draft"]

    entry = ensure(draft, there, QUIET)

    assert bench.made == ["states", "draft"]
    assert (entry.directory / "model.safetensors").read_bytes() == bench.weights
    assert json.loads((entry.directory / "draft.json").read_text()) == {"attempt": 2}
    assert Store(there.root).load(draft).files == entry.files
    assert not (entry.directory / LIGHT).exists()
    assert list((there.root / "tmp").iterdir()) == []


def test_what_cannot_be_made_again_takes_down_only_what_is_to_be_made_of_it(
    there: Store, bench: Bench
) -> None:
    bench.broken = "draft"
    old, new = bench.scores(0), bench.scores(1)

    failures = execute([old, new], there, QUIET)

    assert failures.keys() == {new.key, new.inputs["draft"].key}
    assert there.load(old)
    assert there.load(new.inputs["draft"])  # as light as it was


def test_a_damaged_result_is_made_again_of_what_was_light(there: Store, bench: Bench) -> None:
    scores = bench.scores(0)
    (there.directory(scores) / "tables.parquet").write_bytes(b"scores 1")

    assert execute([scores], there, QUIET) == {}

    assert bench.made == ["states", "draft", "scores 0"]
    assert (there.load(scores).directory / "tables.parquet").read_bytes() == b"scores 0"


def test_the_collector_leaves_the_checkpoints_of_what_is_being_made_again(
    there: Store, bench: Bench
) -> None:
    draft = bench.scores(0).inputs["draft"]
    (there.scratch(draft) / "step-7").write_text("checkpoint")

    assert garbage_collection.collect(there).gone == ()
    ensure(draft, there, QUIET)
    assert not (there.root / "scratch" / draft.key).exists()


def test_a_run_is_told_as_cached_where_light_is_enough(there: Store, bench: Bench) -> None:
    journal = Journal.open(there, RUN)
    journal.tell_run("a title", topological([bench.scores(0), bench.scores(1)]), there)

    states = {stage.label: stage.state for stage in standing(there.root, RUN).stages.values()}

    assert states == {
        "texts": "cached",
        "states": "to do",
        "draft": "to do",
        "scores 0": "cached",
        "scores 1": "to do",
    }


def test_an_entry_that_is_whole_is_not_replaced(packed: Path, here: Store, tmp_path: Path) -> None:
    before = _bytes(here.root)
    entry = next(packed.glob(f"entries/draft/*/{ENTRY}"))
    entry.write_text(entry.read_text().replace('"label": "draft"', '"label": "other"'))
    entry.with_name(SEAL).write_text(seal(entry))

    assert unpack(packed, here) == Moved(results=0, light=0, there=4)
    assert {name: text for name, text in _bytes(here.root).items() if name in before} == before


def test_what_somebody_is_making_is_left_to_him(packed: Path, tmp_path: Path, bench: Bench) -> None:
    store, texts = Store(tmp_path / "busy"), next(topological([bench.scores(0)]))

    with store.lock(texts):
        assert unpack(packed, store) == Moved(results=3, light=2, there=1)

    assert not store.has(texts)
    assert unpack(packed, store) == Moved(results=1, light=0, there=3)


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pack that is not to be changed."""
    folder = tmp_path_factory.mktemp("kept")
    pack(_stored(folder / "here" / "store", Bench()), RUN, folder / "pack")
    return folder / "pack"


@settings(max_examples=60)
@given(place=st.integers(0), bit=st.integers(0))
def test_a_bit_flipped_anywhere_in_a_pack_is_refused_with_the_files_name(
    tmp_path_factory: pytest.TempPathFactory, kept: Path, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    shutil.copytree(kept, folder / "pack")
    files = files_in(folder / "pack")
    path = folder / "pack" / files[place % len(files)]
    _flip(path, bit % (path.stat().st_size * 8))
    store = Store(folder / "there")
    store.root.mkdir()

    named = path.parent if path.name in (ENTRY, SEAL) else path
    with pytest.raises(UserError, match=f"{named}.*bring the pack again"):
        unpack(folder / "pack", store)
    assert [wrong for _, wrong in garbage_collection.verify(store) if wrong] == []


@pytest.mark.parametrize("lost", ["draft.json", "entry.json", "entry.sha256", "entry.light"])
def test_a_file_lost_from_a_light_entry_is_damage(there: Store, bench: Bench, lost: str) -> None:
    draft = bench.scores(0).inputs["draft"]
    (there.directory(draft) / lost).unlink()

    with pytest.raises((Damaged, KeyError)):
        Store(there.root).load(draft)


@settings(max_examples=40)
@given(bit=st.integers(0, len("model.safetensors\n") * 8 - 1))
def test_a_bit_flipped_in_the_list_of_what_was_left_out_is_damage(
    tmp_path_factory: pytest.TempPathFactory, kept: Path, bit: int
) -> None:
    store, draft = Store(tmp_path_factory.mktemp("flipped")), Bench().scores(0).inputs["draft"]
    unpack(kept, store)
    _flip(store.directory(draft) / LIGHT, bit)

    with pytest.raises(Damaged):
        store.load(draft)


def _told_otherwise(packed: Path, old: str, new: str) -> None:
    """Let the draft's entry say something else, under a seal that fits."""
    entry = next(packed.glob(f"entries/draft/*/{ENTRY}"))
    assert old in entry.read_text()
    entry.write_text(entry.read_text().replace(old, new))
    entry.with_name(SEAL).write_text(seal(entry))


@pytest.mark.parametrize(
    "name",
    ["../../escaped.json", "/tmp/escaped.json", "a/../../../escaped.json", "", ".", "a\\nb.json"],
)
def test_names_that_lead_out_are_refused(packed: Path, tmp_path: Path, name: str) -> None:
    _told_otherwise(packed, "draft.json", name)

    with pytest.raises(UserError, match=r"entry\.json does not read: .*should match pattern"):
        unpack(packed, Store(tmp_path / "store"))
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"label": "draft"', '"label": ["draft"]', "label"),
        ('"inputs": {\n', '"inputs": {\n  "other": ["a"],\n', "inputs.other"),
    ],
)
def test_facts_of_another_kind_are_refused(
    packed: Path, tmp_path: Path, old: str, new: str, named: str
) -> None:
    _told_otherwise(packed, old, new)

    with pytest.raises(UserError, match=rf"entry\.json does not read: {named}"):
        unpack(packed, Store(tmp_path / "store"))


def test_a_hash_that_is_a_path_is_refused(packed: Path, tmp_path: Path) -> None:
    _told_otherwise(packed, _hash(packed, "draft.json"), "../../secret")

    with pytest.raises(UserError, match=r"draft\.json\.sha256: .*should match pattern"):
        unpack(packed, Store(tmp_path / "store"))


def _hash(packed: Path, name: str) -> str:
    """Return what the draft's entry says of a file."""
    entry = json.loads(next(packed.glob(f"entries/draft/*/{ENTRY}")).read_text())
    return str(entry["files"][name]["sha256"])


def test_links_that_lead_out_are_refused(packed: Path, tmp_path: Path) -> None:
    for name, linked in (("file", "files/*"), ("entry", "entries/draft/*"), ("stage", "entries/*")):
        pack_, elsewhere = tmp_path / f"pack {name}", tmp_path / f"elsewhere {name}"
        shutil.copytree(packed, pack_)
        path = next(pack_.glob(linked))
        path.rename(elsewhere)
        path.symlink_to(elsewhere)

        with pytest.raises(UserError, match="leads out of"):
            unpack(pack_, Store(tmp_path / f"store {name}"))


def test_what_is_larger_than_it_claims_is_refused_unread(packed: Path, tmp_path: Path) -> None:
    path = packed / "files" / _hash(packed, "draft.json")
    os.truncate(path, 10**12)  # of which the disk holds nothing

    with pytest.raises(UserError, match=f"{path} is not what was written: it has another size"):
        unpack(packed, Store(tmp_path / "store"))


@pytest.mark.parametrize("size", [10**9, 0])
def test_an_entry_that_is_none_is_refused(packed: Path, tmp_path: Path, size: int) -> None:
    entry = next(packed.glob(f"entries/draft/*/{ENTRY}"))
    os.truncate(entry, size)
    entry.with_name(SEAL).write_text(f"{digest('')}  {ENTRY}\n")

    with pytest.raises(UserError, match=r"entry\.json .*bring the pack again"):
        unpack(packed, Store(tmp_path / "store"))


@pytest.mark.parametrize("content", ["[]", "{}", "[" * 100_000, '{"files": []}', "\udcff"])
def test_nonsense_under_a_seal_that_fits_is_one_sentence(
    packed: Path, tmp_path: Path, content: str
) -> None:
    entry = next(packed.glob(f"entries/draft/*/{ENTRY}"))
    entry.write_bytes(content.encode("utf-8", "surrogateescape"))
    entry.with_name(SEAL).write_text(seal(entry))

    with pytest.raises(UserError, match=r"entry\.json does not read"):
        unpack(packed, Store(tmp_path / "store"))


def test_an_entry_is_not_taken_for_another(packed: Path, tmp_path: Path) -> None:
    entry = next(packed.glob("entries/draft/*"))
    entry.rename(entry.with_name("0" * 64))

    with pytest.raises(UserError, match="is of another result"):
        unpack(packed, Store(tmp_path / "store"))


@pytest.mark.parametrize("beside", ["runs", "holds", "locks", "tmp"])
def test_what_stands_beside_the_stages_of_a_store_is_no_stage_of_a_pack(
    packed: Path, tmp_path: Path, beside: str
) -> None:
    _told_otherwise(packed, '"stage": "draft"', f'"stage": "{beside}"')
    (packed / "entries" / "draft").rename(packed / "entries" / beside)

    assert unpack(packed, Store(tmp_path / "store")) == Moved(results=3, light=1)
    assert not list(tmp_path.glob(f"store/{beside}/*/{ENTRY}"))


def test_weights_that_somebody_put_into_a_pack_are_never_unpacked(
    packed: Path, tmp_path: Path
) -> None:
    (packed / "files" / _hash(packed, "model.safetensors")).write_bytes(Bench().weights)

    unpack(packed, Store(tmp_path / "store"))

    assert not {path.name for path in (tmp_path / "store").rglob("*")} & HEAVY


def test_what_is_damaged_is_not_packed(here: Store, tmp_path: Path, bench: Bench) -> None:
    _flip(here.directory(bench.scores(0)) / "tables.parquet", 3)

    with pytest.raises(UserError, match=r"tables\.parquet is not what .*draftmark store verify"):
        pack(here, RUN, tmp_path / "pack")


def test_folders_and_runs_that_are_none_are_named(here: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"Nothing is known of a run 'other'.*known: {RUN}"):
        pack(here, "other", tmp_path / "pack")
    with pytest.raises(UserError, match="is no pack"):
        unpack(tmp_path, here)
    with pytest.raises(UserError, match="is no pack"):
        unpack(tmp_path / "nowhere", here)


def test_the_commands_say_what_they_moved(
    here: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def draftmark(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["draftmark", "store", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main.main()
        assert not stop.value.code
        return capsys.readouterr().out

    said = draftmark("pack", here.root.parent / RUN, "--out", tmp_path / "pack")
    assert said.startswith("4 results, 2 of them light, ")
    said = draftmark("unpack", tmp_path / "pack", "--store", tmp_path / "there")
    assert said.startswith("4 results put into ")
    assert "2 of them light; 0 were there" in said
    assert "draft (light): no known run" in draftmark("ls", "--store", tmp_path / "there")
    assert "0 damaged" in draftmark("verify", "--store", tmp_path / "there")
