"""Hidden states that vLLM reads: `extract_hidden_states`, equal to a plain pass up to rounding.

vLLM gives the outputs of layers; the last one's is before the target's last norm, which is applied
here. Layers have the numbers of `models.hidden_states`.

Legend: T position, L layer, D hidden size.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file

from draftmark.engines._vllm import options
from draftmark.engines._vllm.child_process import Child, ChildFailure
from draftmark.engines._vllm.starting import (
    NEED_OF_STATES,
    TIMEOUT_S,
    check_installed,
    start_vllm,
)
from draftmark.errors import UserError
from draftmark.models.heads.block_head import last_norm
from draftmark.models.hidden_states import Positions, keep_positions
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.models.quantised import quantisation
from draftmark.models.spread import bring
from draftmark.models.supervised_positions import num_positions, rows_read
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import GREEDY, Placement, Samplers, Text


@dataclass(frozen=True)
class VllmReader:
    """Reads a target's texts, `batch_size` at once, in a child process.

    The other fields are the target's: its width, its bounds, its number of layers, its last norm.
    """

    directory: Path
    placement: Placement
    batch_size: int
    scratch: Path  # holds the states of a batch
    hidden_size: int
    max_positions: int
    vocab_size: int
    num_layers: int
    norm: Any
    facts: dict[str, Any] = field(default_factory=dict)  # the settings that vLLM resolved

    @classmethod
    def of_target(
        cls, directory: Path, placement: Placement, batch_size: int, scratch: Path
    ) -> "VllmReader":
        """Return the reader of the target in a folder.

        Raises UserError without vLLM, for a family whose last norm is not known, and for quantised
        weights, which vLLM multiplies in other ways than draftmark.
        """
        check_installed(NEED_OF_STATES)
        if quantisation(directory):
            raise UserError(
                f"{NEED_OF_STATES}: vLLM rounds the products of quantised weights in ways of its "
                "own, so its states are not those that drafts are scored on; leave "
                "features.engine out for a quantised target."
            )
        loaded = load_model(directory, replace(placement, device="cpu"))
        norm = _last_norm(loaded, directory)
        bring(norm, torch.device("cpu"))
        bounds = loaded.hidden_size, loaded.max_positions, loaded.vocab_size
        layers = int(loaded.model.config.num_hidden_layers)
        return cls(directory, placement, batch_size, scratch, *bounds, layers, norm)

    @torch.no_grad()
    def read_states(
        self, texts: Sequence[Text], layers: Sequence[int], positions: Positions
    ) -> Iterator[tuple[Text, torch.Tensor]]:
        """Yield each text with its states [T, L, D] at `positions`, as `hidden_states.read_states`.

        Raises UserError if vLLM does not read the target.
        """
        wanted = [layer % (self.num_layers + 1) for layer in layers]  # -1 is the final state
        given = sorted(set(wanted))  # in the order that vLLM gives them
        columns = [given.index(layer) for layer in wanted]
        try:
            with (
                TemporaryDirectory(dir=self.scratch) as folder,
                closing(self._start(texts, given, Path(folder))) as child,
            ):
                for start in range(0, len(texts), self.batch_size):
                    group = texts[start : start + self.batch_size]
                    paths = child.ask({"rows": rows_read(group)})
                    for text, path in zip(group, paths, strict=True):
                        states_TLD = self._take(Path(path), given)[:, columns]
                        yield text, keep_positions(text, states_TLD, positions)
        except ChildFailure as failure:
            raise UserError(
                f"vLLM did not read the hidden states of {self.directory.name}: {failure}. Leave "
                "features.engine out, or set a smaller features.batch_size."
            ) from failure

    def _start(self, texts: Sequence[Text], layers: Sequence[int], folder: Path) -> Child:
        """Return a child that saves the outputs of `layers` in a folder.

        A row is read if the context has room for it, for a new token and for a drafted one.
        """
        settings = EngineSettings(
            samplers=Samplers(GREEDY, GREEDY),
            num_speculative_tokens=0,
            max_new_tokens=1,
            end_tokens=frozenset(),
            seed=0,
            placement=self.placement,
            batch_size=self.batch_size,
        )
        max_len = max(map(num_positions, texts)) + 2
        chosen = options.reading_options(self.directory, settings, max_len, layers, folder)
        variables = options.environment_variables(self.placement.device, torch.get_num_threads())
        variables |= {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}  # nothing is read beyond the context
        child, resolved = start_vllm(chosen, variables, TIMEOUT_S)
        self.facts.update(engine=options.without_paths(chosen), resolved=resolved)
        return child

    def _take(self, path: Path, layers: Sequence[int]) -> torch.Tensor:
        """Return the states [T, L, D] in a file of the child's, and delete it."""
        if not path.exists():
            raise ChildFailure("vLLM saved no states of a text")
        states_TLD = load_file(path)["hidden_states"]
        path.unlink()
        if layers[-1] == self.num_layers:
            states_TLD[:, -1] = self.norm(states_TLD[:, -1])
        return states_TLD


def _last_norm(loaded: LanguageModel, directory: Path) -> Any:
    """Return a target's last norm; raises UserError if its family has another name for it."""
    try:
        return last_norm(loaded.model)
    except StopIteration:
        raise UserError(
            f"{NEED_OF_STATES}: the last norm of {loaded.model.config.model_type!r} models is not "
            f"known, which vLLM leaves out of the states of {directory.name}; leave "
            "features.engine out."
        ) from None
