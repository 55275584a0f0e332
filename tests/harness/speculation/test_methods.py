"""Whatever is wrong with a method's file is one sentence that says what to write."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from draftmark import baselines, registry
from draftmark.config.recipe import MethodEntry
from draftmark.errors import UserError
from draftmark.speculation.methods import build_method

METHOD = '''"""A method of one's own."""

from dataclasses import dataclass

from draftmark.speculation.methods import LanguageModelMethod


@dataclass(frozen=True)
class Mine(LanguageModelMethod):
    """It trains nothing."""

    k: int = 20

    def train(self, context):
        """Return nothing."""


METHOD = Mine
'''
Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes baselines/<this test's>.py."""
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "draftmark.baselines.own", raising=False)

    def write(source: str) -> None:
        (tmp_path / "own.py").write_text(source, encoding="utf-8")
        registry._modules.cache_clear()

    yield write
    registry._modules.cache_clear()


def said(**knobs: object) -> str:
    with pytest.raises(UserError) as caught:
        build_method(MethodEntry.model_validate({"name": "own", **knobs}))
    return str(caught.value)


def test_a_method_of_ones_own_is_built_with_its_knob(write: Write) -> None:
    write(METHOD)

    assert build_method(MethodEntry.model_validate({"name": "own", "k": 3})).k == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("@dataclass(frozen=True)\n", "", "write @dataclass(frozen=True) above it."),
        ("METHOD = Mine", "METHOD = Mine()", "not a class; name the class itself, without ()."),
        (
            "METHOD = Mine",
            "NAME = Mine",
            "own.py does not define METHOD; give its method that name",
        ),
        ("(LanguageModelMethod)", "", "has no kind, trains, drafter; define it, or derive"),
        ("(frozen=True)", "", "own.py does not load: TypeError: cannot inherit non-frozen"),
        ("def train(self", "def train((self", "SyntaxError: "),
        ("import dataclass\n", "import dataklass\n", "ImportError: cannot import name 'dataklass'"),
        ("METHOD = Mine", "METHOD = Nine", "name 'Nine' is not defined (line 18 of own.py)."),
        ("k: int", "k: object.__class__('T', (), {})", "has an unusable type: Unable to"),
    ],
)
def test_what_is_wrong_with_its_file_is_said(
    write: Write, old: str, new: str, sentence: str
) -> None:
    assert old in METHOD
    write(METHOD.replace(old, new))

    assert sentence in said()


def test_a_wrong_knob_is_said_with_the_nearest_or_with_its_value(write: Write) -> None:
    write(METHOD)

    assert said(kk=3) == (
        "Unknown knob of method 'own' 'kk'. Did you mean 'k'? Known: against, draft, k, label, "
        "sweep, training."
    )
    assert said(k="many") == ("method 'own': k: Input should be a valid integer (got 'many').")
