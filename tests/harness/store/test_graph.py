"""Keys name exactly what decides a result; inputs come before what needs them."""

import ast
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.pipeline import experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store import graph
from draftmark.store.graph import Node, code_version, json_digest, topological_order

Version = Callable[..., str]
CODE = '''"""What it is for."""

from probe import maths

def twice(x):
    """Return it doubled."""
    return maths.add(x, x)  # why
'''
MATHS = "def add(a, b):\n    return a + b\n"


def _node(stage: str = "stage", **changes: Any) -> Node:
    fields: dict[str, Any] = {"label": "l", "settings": {"x": 1}, "inputs": {}, "code": ()}
    return Node(stage, **{**fields, **changes})


def test_a_key_is_the_same_for_the_same_work() -> None:
    assert _node().key == _node().key
    assert _node(settings={"a": 1, "b": 2}).key == _node(settings={"b": 2, "a": 1}).key


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "other"},
        {"settings": {"x": 2}},
        {"settings": {"x": 1, "y": 0}},
        {"inputs": {"a": _node()}},
        {"code": ("draftmark.analysis.statistics",)},
    ],
)
def test_a_key_changes_with_whatever_decides_the_result(changes: dict[str, Any]) -> None:
    assert _node(**changes).key != _node().key


def test_a_key_depends_on_what_each_input_is_and_on_its_part() -> None:
    first, second = _node(settings={"x": 2}), _node(settings={"x": 3})

    keys = {
        _node(inputs=inputs).key
        for inputs in ({"a": first}, {"a": second}, {"b": first}, {"a": first, "b": second})
    }

    assert len(keys) == 4


def test_a_key_does_not_depend_on_label_or_path(tmp_path: Path) -> None:
    same = _node(label="other", existing_folder=tmp_path)

    assert same.key == _node().key


def test_a_digest_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_digest({"x": float("nan")})
    with pytest.raises(TypeError):
        json_digest({"x": Path()})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=3), json_values))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert json_digest(dict(reversed(value.items()))) == json_digest(value)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Return nodes of a random graph, each with inputs among those before it."""
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 8))):
        chosen = draw(st.sets(st.integers(0, max(index - 1, 0)), max_size=min(index, 3)))
        inputs = {str(number): nodes[number] for number in sorted(chosen)}
        nodes.append(_node(settings={"same": draw(st.integers(0, 2))}, inputs=inputs))
    return nodes


def _reachable(node: Node) -> set[str]:
    return {node.key}.union(*(_reachable(upstream) for upstream in node.inputs.values()))


@settings(max_examples=50, deadline=None)
@given(graphs(), st.data())
def test_every_node_comes_once_and_after_its_inputs(nodes: list[Node], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(nodes), min_size=1))

    order = list(topological_order(wanted))

    keys = [node.key for node in order]
    assert len(set(keys)) == len(keys)
    assert set(keys) == set().union(*(_reachable(node) for node in wanted))
    for position, node in enumerate(order):
        assert {item.key for item in node.inputs.values()} <= set(keys[:position])


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    """Return what gives the version of probe.code in a package of some sources."""
    count = 0

    def version_of(code: str = CODE, **others: str) -> str:
        nonlocal count
        count += 1
        sources = {"__init__": "", "code": code, "maths": MATHS, **others}
        with monkeypatch.context() as patched:
            patched.syspath_prepend(_package(tmp_path / str(count), sources))
            _forget()
            try:
                return code_version("probe.code")
            finally:
                _forget()

    return version_of


def _package(folder: Path, sources: Mapping[str, str]) -> Path:
    (folder / "probe").mkdir(parents=True)
    for name, source in sources.items():
        (folder / "probe" / f"{name}.py").write_text(source, encoding="utf-8")
    return folder


def _forget() -> None:
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "probe"]:
        del sys.modules[name]
    cached = (graph.code_version, graph._closure, graph._parse)
    for function in (*cached, graph._module_hash, graph._own_imports):
        function.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", "# for another reason"),
        ('"""Return it doubled."""', '"""Return two of it."""'),
        ('    """Return it doubled."""\n', ""),
        ("What it is for.", "What it does."),
        ("\n\ndef", "\n\n\n\ndef"),
        ("maths.add(x, x)", "maths.add(\n        x,\n        x,\n    )"),
    ],
)
def test_comments_docstrings_and_layout_are_no_new_version(
    version: Version, old: str, new: str
) -> None:
    changed = CODE.replace(old, new)

    assert changed != CODE
    assert version(changed) == version()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("add(x, x)", "add(x, 2)"),
        ("twice(x)", "twice(x=1)"),
        ("def twice", "async def twice"),
        ("return maths", "'not a docstring'.strip()\n    return maths"),
    ],
)
def test_code_that_does_something_else_is_a_new_version(
    version: Version, old: str, new: str
) -> None:
    assert version(CODE.replace(old, new)) != version()


@pytest.mark.parametrize(
    "how",
    [
        "from probe import maths",
        "import probe.maths",
        "from probe.maths import add",
        "def later():\n    from probe import maths",
        "from probe import other",
        "from . import maths",
        "from .maths import add",
        "from .other import maths",
    ],
)
def test_what_is_imported_counts_however_deep(version: Version, how: str) -> None:
    code, other = f"{how}\n", "from probe import maths\n"

    before = version(code, other=other)

    assert version(code, other=other, maths=MATHS.replace("+", "-")) != before


@pytest.mark.parametrize("how", ["from .maths import add", "from . import maths"])
def test_what_a_package_itself_imports_counts_too(
    version: Version, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A plug-in's entry point may name its package, whose __init__ takes the rest together."""
    code = "from probe import taken\n"

    before = version(code, __init__=f"{how}\ntaken = 1\n")

    changed = {"__init__": f"{how}\ntaken = 1\n", "maths": MATHS.replace("+", "-")}
    assert version(code, **changed) != before


@pytest.mark.parametrize("unused", ["", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"])
def test_what_is_not_imported_when_running_does_not_count(version: Version, unused: str) -> None:
    code = f"{unused}    from probe import maths\n" if unused else "import json\n"

    assert version(code, maths=MATHS.replace("+", "-")) == version(code)


def test_modules_that_only_carry_results_do_not_count(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "_NEUTRAL", ("probe",))

    assert version(maths=MATHS.replace("+", "-")) == version()


def test_finding_a_version_runs_none_of_the_code(version: Version) -> None:
    """A plan versions the code of training; it must not load torch for that."""
    code = "from probe.maths import add\n"

    assert version(code, maths=f"raise RuntimeError('imported')\n{MATHS}")


def test_the_version_of_a_stage_covers_the_code_that_it_names() -> None:
    """Blocks and statistics decide no stage's bytes: a definition is mended without a GPU."""
    assert {"draftmark.training.loop", "draftmark.training.divergences"} <= graph._closure(
        "draftmark.baselines.kd"
    )
    for measuring in (
        "draftmark.analysis.statistics",
        "draftmark.speculation.blocks",
        "draftmark.engines.measure.timing",
        "draftmark.analysis.summary",
    ):
        assert measuring not in graph._closure("draftmark.pipeline.stages.make_draft")
        assert measuring not in graph._closure("draftmark.speculation.scoring")


def test_a_module_is_parsed_and_hashed_once_for_all_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[int] = []
    tree_hash = graph._tree_hash

    def counted(tree: ast.Module) -> str:
        hashed.append(id(tree))
        return tree_hash(tree)

    _forget()
    monkeypatch.setattr(graph, "_tree_hash", counted)
    for module in ("draftmark.speculation.scoring", "draftmark.baselines.kd"):
        code_version(module)
    shared = graph._closure("draftmark.speculation.scoring") & graph._closure(
        "draftmark.baselines.kd"
    )
    _forget()

    assert shared
    assert len(hashed) == len(set(hashed))


def test_neutral_modules_exist() -> None:
    missing = [name for name in graph._NEUTRAL if not graph._is_module(name)]

    assert missing == []


def test_the_modules_that_stages_name_exist() -> None:
    nodes = topological_order(
        experiment.plan_experiment(load_recipe("quickstart"), Progress(quiet=True)).nodes
    )
    named = {name for node in nodes for name in (*node.code, *node.ignored)}

    assert {"draftmark.baselines.kd", "draftmark.speculation.language_model_drafter"} <= named
    assert [name for name in named if not graph._is_module(name)] == []
