"""The check that hidden states which an engine read are those of the target's own pass.

Legend: T position, L layer, D hidden size.
"""

from collections.abc import Sequence

import torch

from draftmark.engines.measure.lossless import Check
from draftmark.models.hidden_states import StoredHiddenStates, read_states
from draftmark.models.language_model import LanguageModel
from draftmark.types import Text

FLOOR = 1e-4  # relative error of float32 sums in another order, over all layers


@torch.no_grad()
def check_read(
    stored: StoredHiddenStates, texts: Sequence[Text], exact: LanguageModel, plain: LanguageModel
) -> Check:
    """Return the check of stored states on some of their texts.

    `exact` is the target in float32, `plain` the target in the dtype in which the engine read. An
    error is relative to the norm of a layer's states on a text. Stored states may err by twice as
    much as those of `plain` in the same stored dtype, and by FLOOR.
    """
    read = stored.layers, stored.positions
    errors, limits = [], []
    pairs = zip(read_states(exact, texts, *read), read_states(plain, texts, *read), strict=True)
    for (text, exact_TLD), (_, plain_TLD) in pairs:
        found_TLD = stored.states_of(text)
        rounded_TLD = plain_TLD.to(found_TLD.dtype)
        errors.append(_relative_errors(found_TLD, exact_TLD))
        limits.append(FLOOR + 2 * _relative_errors(rounded_TLD, exact_TLD))
    errors_XL, limits_XL = torch.stack(errors), torch.stack(limits)  # X: text
    passed = bool((errors_XL <= limits_XL).all())
    worst = int((errors_XL / limits_XL).argmax())
    layer = stored.layers[worst % len(stored.layers)]
    evidence = (
        f"{len(texts)} texts; the largest relative error is {errors_XL.flatten()[worst]:.2g} in "
        f"layer {layer}, and up to {limits_XL.flatten()[worst]:.2g} is rounding"
    )
    return Check("states are the target's", passed, evidence)


def _relative_errors(found_TLD: torch.Tensor, exact_TLD: torch.Tensor) -> torch.Tensor:
    """Return the relative error of each layer's states [L]."""
    exact_TLD = exact_TLD.double().cpu()
    errors_TLD = found_TLD.double().cpu() - exact_TLD
    relative_L: torch.Tensor = errors_TLD.norm(dim=(0, 2)) / exact_TLD.norm(dim=(0, 2))
    return relative_L
