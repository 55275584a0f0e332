"""The contract of methods, run on draftmark's own methods."""

from draftmark.contract.test_methods import (
    test_a_method_trains_a_draft_that_is_better_loads_and_scores,
)

__all__ = ["test_a_method_trains_a_draft_that_is_better_loads_and_scores"]
