"""The functions of the Python interface; each returns a run's results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from draftmark.api.run_results import RunResults
from draftmark.errors import unknown_name_error
from draftmark.types import Verification

if TYPE_CHECKING:
    from draftmark.config.recipe import Recipe
    from draftmark.pipeline.publish import RunOptions


def score(
    target: str | Path,
    drafts: str | Path | Sequence[str | Path],
    prompts: str | Path | Sequence[Any] | None = None,
    *,
    task: str | None = None,
    engine: str | Sequence[str] = (),
    temperature: float | Sequence[float] = (0.0, 1.0),
    num_speculative_tokens: int = 4,
    max_new_tokens: int | None = None,
    limit: int | None = None,
    verification: Verification = "standard",
    out: str | Path = "results",
    store: str | Path | None = None,
    data: str | Path | None = None,
    unsafe_code: bool = False,
    jobs: int | None = None,
    quiet: bool = False,
) -> RunResults:
    """Measure drafts of a target as they are, and return the results.

    `target` and `drafts` are folders, models that draftmark lists, or `organisation/name@revision`
    on the hub; a draft is a language model, a trained head, "lookup" or "suffix". `prompts` is a
    file, or a list of texts, conversations (lists of turns or messages) or rows (dicts); a list of
    messages alone is one conversation. Without it, the sample rows of `task` are used. An `engine`
    ("vllm", "reference", "transformers") measures speed too. Lengths are in tokens. Raises
    `draftmark.errors.UserError`, with the fix.
    """
    from draftmark.pipeline.score import NAME, ScoreRequest, save_prompts, score_recipe
    from draftmark.progress import Progress

    _check_rule(verification)
    if prompts is not None and not isinstance(prompts, str | Path):
        prompts = save_prompts(list(prompts), Path(out))
    request = ScoreRequest(
        str(target),
        [str(draft) for draft in _several(drafts)],
        _path(prompts),
        task,
        _several(engine),
        _several(temperature),
        num_speculative_tokens,
        max_new_tokens,
        limit,
        verification,
        _path(data),
    )
    recipe = score_recipe(request, Progress(quiet=quiet))
    options = _options(out, store, data, unsafe_code, jobs, quiet)
    return _run(recipe, NAME, options, verification)


def run(
    recipe: str | Path | Mapping[str, Any],
    *,
    tasks: Iterable[str] | None = None,
    verification: Verification = "standard",
    out: str | Path = "results",
    store: str | Path | None = None,
    data: str | Path | None = None,
    unsafe_code: bool = False,
    jobs: int | None = None,
    quiet: bool = False,
) -> RunResults:
    """Run a recipe as `draftmark run` does, and return the results.

    `recipe` is a name that draftmark lists, a TOML file, or a document with a recipe's keys.
    `tasks` takes other tasks than a named recipe's. Results are below the folder `out`; finished
    stages are in `store`, by default `out`/store. Raises `draftmark.errors.UserError` for a recipe,
    a model or rows that are not valid.
    """
    from draftmark.pipeline.recipe_files import load_recipe, recipe_of
    from draftmark.pipeline.sweeps import expand_sweeps

    _check_rule(verification)
    if isinstance(recipe, Mapping):
        loaded, name = recipe_of(expand_sweeps(dict(recipe)), "the recipe"), "recipe"
    else:
        named = None if tasks is None else list(tasks)
        loaded, name = load_recipe(str(recipe), tasks=named), Path(recipe).stem
    options = _options(out, store, data, unsafe_code, jobs, quiet)
    return _run(loaded, name, options, verification)


def load(directory: str | Path, *, verification: Verification = "standard") -> RunResults:
    """Return the results of a stored run, from the folder that `draftmark run` wrote.

    Raises `draftmark.errors.UserError` for a folder without results, or with damaged ones.
    """
    from draftmark.analysis.under_block import results_under
    from draftmark.store.run_folder import load_results

    _check_rule(verification)
    return RunResults(results_under(load_results(Path(directory)), verification), Path(directory))


def _run(
    recipe: "Recipe", name: str, options: "RunOptions", verification: Verification
) -> RunResults:
    """Run a recipe, write its answer and leaderboard, and return the results under a rule."""
    from draftmark.analysis.under_block import results_under
    from draftmark.pipeline.publish import run_recipe
    from draftmark.pipeline.render import render_reports

    results, directory = run_recipe(recipe, name, options)
    results = results_under(results, verification)
    render_reports(results, directory, ["answer", "leaderboard"])
    return RunResults(results, directory)


def _options(
    out: str | Path,
    store: str | Path | None,
    data: str | Path | None,
    unsafe_code: bool,
    jobs: int | None,
    quiet: bool,
) -> "RunOptions":
    from draftmark.pipeline.publish import RunOptions

    return RunOptions(Path(out), _path(store), _path(data), unsafe_code, jobs=jobs, quiet=quiet)


def _check_rule(verification: str) -> None:
    if verification not in get_args(Verification):
        raise unknown_name_error("rule of verification", verification, get_args(Verification))


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _several(value: Any) -> tuple[Any, ...]:
    """Return several values, or a single one, as a tuple."""
    return (value,) if isinstance(value, str | Path | int | float) else tuple(value)
