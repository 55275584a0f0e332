"""draftmark: benchmarks drafts for speculative decoding.

`score` measures drafts on prompts, `run` runs a recipe, `load` reads a stored run. Each returns
`RunResults`: a pandas table, the verdict, figures, and what to paste.
"""

TYPE_CHECKING = False  # of type checkers: `typing` takes 10 ms, when Ctrl-C shows a traceback
if TYPE_CHECKING:
    from draftmark.api.calls import load, run, score
    from draftmark.api.run_results import RunResults

__all__ = ["RunResults", "load", "run", "score"]


def __getattr__(name: str) -> object:
    """Return a public name, imported when it is first used: `import draftmark` loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'draftmark' has no attribute {name!r}")
    from draftmark.api import calls

    globals().update({public: getattr(calls, public) for public in __all__})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
