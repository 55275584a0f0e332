"""Recipes: what loads, and the one sentence that each mistake in one gets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from draftmark.config.model_sections import Budget, Training
from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe, recipe_names, suite_members
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.speculation.methods import build_method

HEAD = 'title = "A recipe"\ntasks = ["gsm8k"]\n'
PAIR = '[[pairs]]\nname = "p"\ntarget = "tiny-target"\ndraft = { pruned = [0] }\n'
METHODS = '[[methods]]\nname = "untrained"\n[[methods]]\nname = "kd"\n'

SAMPLES = '[data]\nsources = ["samples"]\ntrain_rows = 4\nvalidation_rows = 2\ntest_rows = 5\n'

Load = Callable[..., Recipe]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return what loads the recipe of some parts of TOML."""

    def from_parts(
        *, head: str = HEAD, pair: str = PAIR, methods: str = METHODS, more: str = ""
    ) -> Recipe:
        path = tmp_path / "mine.toml"
        path.write_text("\n".join([head, pair, methods, more]), encoding="utf-8")
        return load_recipe(str(path))

    return from_parts


def _mistake(load: Load, **parts: str) -> str:
    with pytest.raises(UserError) as caught:
        load(**parts)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads(name: str) -> None:
    assert all(list(load_recipe(member).cells()) for member in suite_members(name))


def test_a_suite_is_its_recipes_and_is_none_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "Two"\nrecipes = ["methods", "quickstart"]\n')
    assert suite_members(str(path)) == ("methods", "quickstart")
    assert suite_members("quickstart") == ("quickstart",)
    with pytest.raises(UserError, match=r"is a suite: name one of its recipes, methods, quickst"):
        load_recipe(str(path))
    path.write_text('title = "Two"\nrecipes = ["quickstrat"]\n')
    with pytest.raises(UserError, match="Did you mean 'quickstart'"):
        suite_members(str(path))


def test_an_unknown_recipe_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"recipe 'quickstrat'\. Did you mean 'quickstart'"):
        load_recipe("quickstrat")


def test_a_missing_recipe_file_is_named() -> None:
    with pytest.raises(UserError, match=r"no recipe file 'nowhere/mine\.toml'"):
        load_recipe("nowhere/mine.toml")


LK = "[[methods]]\nname = 'lk'\nobjective = 'negative_log_acceptance'\n"


def test_bad_toml_names_the_file_and_the_line(load: Load) -> None:
    message = _mistake(load, head="title = \n")

    assert "mine.toml is not valid TOML" in message
    assert "line 1" in message


def test_a_recipe_that_is_not_utf8_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "é"'.encode("latin-1"))

    with pytest.raises(UserError, match=r"latin\.toml"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("parts", "wrong", "near"),
    [
        ({"head": HEAD + "sedes = [0]\n"}, "sedes", "seeds"),
        ({"more": "[training]\nlearning_rat = 1e-3"}, "training.learning_rat", "learning_rate"),
        ({"more": "[data]\ntrain_row = 3"}, "data.train_row", "data.train_rows"),
        ({"more": "[speed]\nblock = 3"}, "speed.block", "speed.blocks"),
        ({"more": "[evaluation]\ntemperature = [0.0]"}, "evaluation.temperature", "temperatures"),
        ({"pair": PAIR + "dtyp = 'float32'\n"}, "pairs.0.dtyp", "pairs.0.dtype"),
        ({"pair": PAIR.replace("pruned", "prund")}, "pairs.0.draft.prund", "pairs.0.draft.pruned"),
    ],
)
def test_an_unknown_key_gets_its_place_and_the_nearest(
    load: Load, parts: dict[str, str], wrong: str, near: str
) -> None:
    message = _mistake(load, **parts)

    assert f"key {wrong!r}. Did you mean" in message
    assert f"{near}'?" in message
    assert "mine.toml" in message


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"head": HEAD.replace("gsm8k", "gsm9k")}, "task 'gsm9k'. Did you mean 'gsm8k'"),
        (
            {"methods": "[[methods]]\nname = 'untraind'"},
            "method 'untraind'. Did you mean 'untrained'",
        ),
        ({"more": "[speed]\nengine = 'referense'"}, "engine 'referense'. Did you mean 'reference'"),
        (
            {"methods": "[[methods]]\nname = 'kd'\ntemperatur = 2"},
            "knob of method 'kd' 'temperatur'. Did you mean 'temperature'",
        ),
        (
            {"methods": "[[methods]]\nname = 'kd'\nlable = 'x'"},
            "'lable'. Did you mean 'label'",
        ),
        (
            {"methods": "[[methods]]\nname = 'kd'\ntraining = { learning_rat = 1e-3 }"},
            "method 'kd': Unknown key 'training.learning_rat'. Did you mean 'training.learning_rat",
        ),
    ],
)
def test_an_unknown_name_gets_the_nearest(load: Load, parts: dict[str, str], sentence: str) -> None:
    assert sentence in _mistake(load, **parts)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"head": HEAD.replace('"gsm8k"', "")}, "mine.toml: tasks is empty."),
        ({"more": "[training.mixture]\ndraft = 1"}, "mine.toml: training: mixture needs text"),
        (
            {"more": "[training]\nbudget = { steps = 3, seconds = 1 }"},
            "mine.toml: training.budget: needs exactly one of",
        ),
        (
            {"methods": "[[methods]]\nname = 'kd'\ntraining = { text = 'mixture' }"},
            "method 'kd': training: text = 'mixture' needs shares",
        ),
        (
            {"methods": "[[methods]]\nname = 'kd'\ntraining = { passes = 0 }"},
            "method 'kd': training.passes: Input should be greater than 0 (got 0).",
        ),
        (
            {"methods": LK + "eta = 1"},
            "method 'lk': objective = 'negative_log_acceptance' uses neither eta",
        ),
    ],
)
def test_what_is_wrong_with_a_section_as_a_whole_names_it(
    load: Load, parts: dict[str, str], sentence: str
) -> None:
    message = _mistake(load, **parts)

    assert sentence in message
    assert "ArgsKwargs" not in message


@pytest.mark.parametrize(
    ("parts", "place", "value"),
    [
        ({"more": "[data]\ntrain_rows = 'ten'"}, "data.train_rows", "'ten'"),
        ({"more": "[data]\ntest_rows = 0"}, "data.test_rows", "0"),
        ({"more": "[data]\nsources = ['web']"}, "data.sources.0", "'web'"),
        ({"more": "[training]\nlearning_rate = -1.0"}, "training.learning_rate", "-1.0"),
        ({"more": "[training]\nwarmup_fraction = 1.5"}, "training.warmup_fraction", "1.5"),
        ({"more": "[training]\ntext = 'gold'"}, "training.text", "'gold'"),
        ({"more": "[training]\nmixture = { dataset = 2 }"}, "training.mixture.dataset", "2"),
        ({"pair": PAIR + "fine_tune = { passes = 0 }\n"}, "pairs.0.fine_tune.passes", "0"),
        ({"more": "[evaluation]\nnum_speculative_tokens = 33"}, "num_speculative_tokens", "33"),
        ({"more": "[evaluation]\ntemperatures = [-1.0]"}, "evaluation.temperatures.0", "-1.0"),
        ({"more": "[speed]\nblocks = 1"}, "speed.blocks", "1"),
        ({"pair": PAIR + "dtype = 'int8'\n"}, "pairs.0.dtype", "'int8'"),
        ({"pair": PAIR.replace("[0]", "[-1]")}, "pairs.0.draft.pruned.0", "-1"),
        ({"methods": "[[methods]]\nname = 'kd'\ntemperature = 'hot'"}, "temperature", "'hot'"),
        ({"methods": "[[methods]]\nname = 'kd'\ntemperature = 0"}, "temperature", "0"),
        (
            {"methods": "[[methods]]\nname = 'kd'\ntraining = { passes = 0 }"},
            "method 'kd': training.passes",
            "0",
        ),
    ],
)
def test_a_wrong_value_gets_its_place_and_is_shown(
    load: Load, parts: dict[str, str], place: str, value: str
) -> None:
    message = _mistake(load, **parts)

    assert f"{place}: " in message
    assert f"(got {value})" in message


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize(
    "parts",
    [
        {"more": "[training]\nlearning_rate = inf"},
        {"more": "[training]\npasses = inf"},
        {"more": "[training]\ntext_temperature = inf"},
        {"more": "[evaluation]\ntemperatures = [inf]"},
        {"more": "[speed]\ntemperature = inf"},
        {"methods": "[[methods]]\nname = 'kd'\ntemperature = inf"},
        {"pair": PAIR.replace("pruned = [0]", "random = { initializer_range = inf }")},
    ],
)
def test_only_finite_numbers_are_settings(load: Load, parts: dict[str, str], value: str) -> None:
    changed = {name: text.replace("inf", value) for name, text in parts.items()}

    assert value in _mistake(load, **changed)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"head": HEAD.replace('"gsm8k"', '"gsm8k", "gsm8k"')}, "tasks repeat: gsm8k, gsm8k"),
        ({"head": HEAD.replace('"gsm8k"', "")}, "tasks is empty"),
        ({"head": HEAD + "seeds = [1, 2, 1]\n"}, "seeds repeat: 1, 2, 1"),
        ({"head": HEAD + "seeds = []\n"}, "seeds is empty"),
        ({"pair": PAIR + PAIR}, "pairs repeat: p, p"),
        ({"methods": METHODS + METHODS}, "methods (give one a label) repeat"),
        ({"head": HEAD + "pairs = []\n", "pair": ""}, "pairs is empty"),
        ({"head": HEAD + "methods = []\n", "methods": ""}, "methods is empty"),
        ({"more": "[evaluation]\ntemperatures = []"}, "temperatures"),
        ({"more": "[data]\nsources = []"}, "sources"),
    ],
)
def test_nothing_repeats_and_nothing_is_empty(
    load: Load, parts: dict[str, str], sentence: str
) -> None:
    assert sentence in _mistake(load, **parts)


@pytest.mark.parametrize(
    "draft",
    [
        "{}",
        "{ model = 'm', pruned = [0] }",
        "{ model = 'm', random = { num_hidden_layers = 1 } }",
        "{ model = 'm', pruned = [0], random = {} }",
    ],
)
def test_a_draft_starts_as_exactly_one_thing(load: Load, draft: str) -> None:
    message = _mistake(load, pair=PAIR.replace("{ pruned = [0] }", draft))

    assert "pairs.0.draft: needs exactly one of model, pruned, random" in message


@pytest.mark.parametrize(
    ("draft", "sentence"),
    [
        ("{ pruned = [] }", "pruned needs at least one layer index"),
        ("{ model = 'm', head = 'shared' }", "head = 'shared' needs a pruned draft"),
    ],
)
def test_a_draft_init_that_makes_no_sense_says_so(load: Load, draft: str, sentence: str) -> None:
    assert sentence in _mistake(load, pair=PAIR.replace("{ pruned = [0] }", draft))


def test_every_block_of_the_speed_runs_has_a_prompt(load: Load) -> None:
    """Five blocks of three prompts cannot be: some block would have nothing to time."""
    assert "test_rows" in _mistake(load, more="[data]\ntest_rows = 3\n[speed]\nblocks = 5")


@pytest.mark.parametrize("name", ["samples", "judge"])
def test_no_more_prompts_are_sampled_or_judged_than_there_are(load: Load, name: str) -> None:
    more = f"[data]\ntest_rows = 8\n[speed]\nblocks = 2\n[evaluation.{name}]\nprompts = 9"
    more += '\nendpoint = "http://x.test"\nmodel = "m"' if name == "judge" else ""

    assert f"evaluation.{name}.prompts = 9 needs data.test_rows" in _mistake(load, more=more)


@pytest.mark.parametrize("temperature", ["0", "-1"])
def test_samples_are_drawn_above_temperature_0(load: Load, temperature: str) -> None:
    more = f"[evaluation.samples]\ntemperatures = [{temperature}]"

    assert "evaluation.samples.temperatures.0" in _mistake(load, more=more)


SECRET = "abcSECRET"


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ('endpoint = "api.test/v1"', "endpoint must be a URL such as"),
        ('endpoint = "file:///etc/passwd"', "endpoint must be a URL such as"),
        (f'endpoint = "https://me:{SECRET}@api.test/v1"', "without user, password"),
        (f'endpoint = "https://api.test/v1?key={SECRET}"', "without user, password"),
        (f'endpoint = "https://api.test"\nkey_variable = "sk-{SECRET}"', "never a key"),
        (f'endpoint = "https://api.test"\nkey_variable = "{SECRET}"', "never a key"),
    ],
)
def test_a_recipe_holds_no_secret_of_the_judges_and_none_is_repeated(
    load: Load, told: str, sentence: str
) -> None:
    message = _mistake(load, more=f'[evaluation.judge]\nmodel = "m"\n{told}')

    assert sentence in message
    assert SECRET not in message


def test_labels_tell_two_entries_of_a_method_apart(load: Load) -> None:
    soft = "[[methods]]\nname = 'kd'\nlabel = 'kd, soft'\ntemperature = 2\n"

    recipe = load(methods=METHODS + soft)

    assert [method.title for method in recipe.methods] == ["untrained", "kd", "kd, soft"]
    assert vars(build_method(recipe.method("kd"))) == {"temperature": 1.0}
    assert vars(build_method(recipe.method("kd, soft"))) == {"temperature": 2.0}


def test_cells_come_in_the_order_of_the_recipe(load: Load) -> None:
    second = PAIR.replace('"p"', '"b"')

    cells = list(load(head=HEAD + "seeds = [7, 3]\n", pair=PAIR + second).cells())

    assert cells == [
        Cell("gsm8k", pair, method, seed)
        for pair in ("p", "b")
        for method in ("untrained", "kd")
        for seed in (7, 3)
    ]


def test_a_method_may_train_otherwise_than_the_recipe(load: Load) -> None:
    methods = METHODS + "training = { passes = 3 }\n"

    recipe = load(methods=methods, more="[training]\npasses = 2\nlearning_rate = 0.25")

    own = recipe.training_of(recipe.method("kd"))
    assert (own.passes, own.learning_rate) == (3, 0.25)
    assert recipe.training_of(recipe.method("untrained")) == recipe.training


def test_a_method_may_have_no_budget_where_the_recipe_has_one(load: Load) -> None:
    methods = "[[methods]]\nname = 'kd'\n[[methods]]\nname = 'kd'\nlabel = 'free'\n"
    recipe = load(
        methods=methods + "training = { budget = false }",
        more="[training]\nbudget = { steps = 9 }",
    )

    own = [recipe.training_of(entry).budget for entry in recipe.methods]
    assert own == [Budget(steps=9), None]


def test_trackers_and_processes_do_not_decide_what_a_training_gives() -> None:
    told = Training(trackers=("jsonl",), processes=4)
    assert told.key_settings() == Training().key_settings()
    assert told.key_settings() != Training(budget=Budget(steps=1)).key_settings()


def test_the_length_limit_is_the_recipes_or_else_the_tasks(load: Load) -> None:
    from draftmark.tasks.gsm8k import TASK

    assert load().max_new_tokens(TASK) == TASK.max_new_tokens
    assert load(more="[evaluation]\nmax_new_tokens = 9").max_new_tokens(TASK) == 9


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: setattr(recipe, "title", "other"),
        lambda recipe: setattr(recipe.training, "passes", 9),
        lambda recipe: setattr(recipe.methods[0], "label", "other"),
        lambda recipe: setattr(recipe.pairs[0].draft, "head", "shared"),
    ],
)
def test_a_recipe_never_changes(change: Callable[[Any], None]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        change(load_recipe("quickstart"))


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("text = 'mixture'", "they sum to 0"),
        ("text = 'mixture'\nmixture = { dataset = 0.5, draft = 0.4 }", "they sum to 0.9"),
        ("text = 'mixture'\nmixture = { target = 0.7, draft = 0.7 }", "mixture = { dataset = 0.5"),
        ("text = 'draft'\nmixture = { draft = 1.0 }", "needs text = 'mixture', not 'draft'"),
        ("text = 'mixture'\nmixture = { gold = 1.0 }", "training.mixture.gold"),
    ],
)
def test_a_mixture_has_shares_that_sum_to_one(load: Load, told: str, sentence: str) -> None:
    assert sentence in _mistake(load, more=f"[training]\n{told}")


def test_shares_are_of_those_that_have_one(load: Load) -> None:
    mixture = "mixture = { draft = 0.25, target = 0.75, dataset = 0.0 }"
    mixed = load(more=f"[training]\ntext = 'mixture'\n{mixture}").training

    assert mixed.shares == {"target": 0.75, "draft": 0.25}
    assert mixed.fixed_text == "target"
    assert load(more="[training]\ntext = 'draft'").training.shares == {"draft": 1.0}


def test_a_fine_tuned_target_is_trained_as_adaspec_does_unless_the_pair_says_otherwise(
    load: Load,
) -> None:
    (pair,) = load(pair=PAIR + "fine_tune = { passes = 6 }\n").pairs

    assert pair.fine_tune is not None
    assert (pair.fine_tune.passes, pair.fine_tune.learning_rate) == (6, 1e-5)
    assert (pair.fine_tune.schedule, pair.fine_tune.weight_decay) == ("constant", 0.1)
    assert load().pairs[0].fine_tune is None


TWO_TASKS = 'title = "A recipe"\ntasks = ["gsm8k", "mbpp"]\n'
TUNED = PAIR + "fine_tune = { passes = 3 }\n"
FOR_MBPP = """
[training]
passes = 3
[by_task.mbpp]
seeds = [3, 4]
data = { train_rows = 40 }
training = { learning_rate = 1e-5, rows_per_batch = 2 }
fine_tune = { passes = 1 }
methods.kd = { temperature = 2.0, training = { passes = 30 } }
"""


def test_a_task_may_have_settings_of_its_own(load: Load) -> None:
    recipe = load(head=TWO_TASKS, pair=TUNED, more=FOR_MBPP)
    gsm8k, mbpp = recipe.for_task("gsm8k"), recipe.for_task("mbpp")

    assert gsm8k is recipe
    assert (gsm8k.data.train_rows, mbpp.data.train_rows) == (1000, 40)
    assert [told.training.learning_rate for told in (gsm8k, mbpp)] == [5e-4, 1e-5]
    assert [told.pairs[0].fine_tune.passes for told in (gsm8k, mbpp)] == [3, 1]
    trained = [told.training_of(told.method("kd")) for told in (gsm8k, mbpp)]
    assert [(each.passes, each.rows_per_batch) for each in trained] == [(3, 8), (30, 2)]
    assert [build_method(told.method("kd")).temperature for told in (gsm8k, mbpp)] == [1.0, 2.0]
    assert mbpp.training_of(mbpp.method("untrained")).passes == 3
    seeds = {task: {c.seed for c in recipe.cells() if c.task == task} for task in recipe.tasks}
    assert seeds == {"gsm8k": {0}, "mbpp": {3, 4}}
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("[by_task.xsum.training]\npasses = 2", "by_task names 'xsum', which is not one of tasks"),
        ("[by_task.gsm8k.methods.k]\nx = 2", "by_task.gsm8k.methods names 'k'"),
        ("[by_task.gsm8k.methods.kd]\nlabel = 'x'", "not names"),
        ("[by_task.gsm8k.methods.kd]\nheat = 2.0", "knob of method 'kd' 'heat'"),
        ("[by_task.gsm8k.training]\npases = 2", "by_task.gsm8k: Unknown key 'training.pases'"),
        ("[by_task.gsm8k.training]\npasses = -2", "by_task.gsm8k: training.passes"),
        ("[by_task.gsm8k.fine_tune]\npasses = 2", "fine_tune needs a pair with fine_tune"),
        ("[by_task.gsm8k]\nseeds = [1, 1]", "by_task.gsm8k: seeds repeat: 1, 1"),
        ("[by_task.gsm8k]\nseeds = []", "by_task.gsm8k: seeds is empty"),
        ("[by_task.gsm8k.methods.kd]\nagainst = ['untrained']", "not names"),
        ("[by_task.gsm8k.speeds]\npasses = 2", "Unknown key 'by_task.gsm8k.speeds'"),
        (
            "[speed]\nenable_adaptive_verification = true",
            "The key 'speed.enable_adaptive_verification' is refused: vLLM then cuts blocks by its",
        ),
    ],
)
def test_a_mistake_in_what_a_task_has_of_its_own_is_named(
    load: Load, more: str, sentence: str
) -> None:
    assert sentence in _mistake(load, more=more)


def test_a_recipe_on_fewer_tasks_forgets_what_it_says_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    styles = '[prompting]\nstyles = { gsm8k = "adaspec" }\n'
    path.write_text("\n".join([TWO_TASKS, TUNED, METHODS, FOR_MBPP, styles]), encoding="utf-8")

    gsm8k, mbpp = (load_recipe(str(path), tasks=[name]) for name in ("gsm8k", "mbpp"))

    assert (dict(gsm8k.by_task), gsm8k.prompting.styles) == ({}, {"gsm8k": "adaspec"})
    assert (list(mbpp.by_task), mbpp.prompting.styles) == (["mbpp"], {})


@pytest.mark.parametrize("other", ["kdd", "kd"])
def test_a_method_is_compared_with_others_of_the_recipe(load: Load, other: str) -> None:
    methods = METHODS.replace('name = "kd"', f'name = "kd"\nagainst = ["{other}"]')
    sentence = _mistake(load, methods=methods)
    assert (
        f"method 'kd': against names '{other}', which is not one of the other methods" in sentence
    )


def test_a_comparison_is_planned_once(load: Load) -> None:
    methods = METHODS.replace('name = "kd"', 'name = "kd"\nagainst = ["untrained", "untrained"]')
    assert "method 'kd': against names a method twice" in _mistake(load, methods=methods)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ("{ tokenize = false }", "chat_template_kwargs must not set 'tokenize'"),
        ('{ "no name" = 1 }', "chat_template_kwargs must not set 'no name'"),
        ("{ day = 2024-07-26 }", "chat_template_kwargs.day must be text, a number, true, false"),
        ("{ a = 1 }\nformat = 'plain'", "chat_template_kwargs need format = 'chat' or 'auto'"),
        ("3", "chat_template_kwargs"),
    ],
)
def test_a_mistake_in_the_arguments_of_a_template(load: Load, kwargs: str, sentence: str) -> None:
    assert sentence in _mistake(load, more=f"[prompting]\nchat_template_kwargs = {kwargs}")


def test_the_arguments_of_a_template_are_part_of_the_keys_of_texts(load: Load) -> None:
    def keys(more: str = "") -> dict[str, str]:
        plan = plan_experiment(load(pair=PAIR, more=f"{SAMPLES}{more}"), Progress(quiet=True))
        return {node.label: node.key for node in plan.nodes}

    usual, quiet = keys(), keys("[prompting]\nchat_template_kwargs = { enable_thinking = false }")
    assert keys("[prompting]\nchat_template_kwargs = {}") == usual
    assert usual.keys() == quiet.keys()
    same = {label for label in usual if usual[label] == quiet[label]}
    assert same == {"target tiny-target", "draft untrained, seed 0"}
