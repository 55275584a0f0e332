"""Loads exported block heads with vLLM's own loader, into the model class that vLLM picks.

FOLDER has the target in `target`; each folder in `heads` is an exported head, and the JSON file of
the same name beside it has the arguments of vLLM's `speculative_config`. For each the script writes
the loaded weights by vLLM's names to `NAME.safetensors`, and what vLLM derived from the config to
`NAME.read.json`. Nothing is run: the CPU build has no kernels for these heads.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import get_model_loader
from vllm.v1.worker.gpu.spec_decode.eagle.eagle3_utils import get_eagle3_aux_layers_from_config


def configure(target: Path, head: Path) -> Any:
    """Return what vLLM makes of its arguments for a head."""
    asked = json.loads(head.with_suffix(".json").read_text())
    arguments = EngineArgs(
        model=str(target),
        dtype="float32",
        max_model_len=64,
        enforce_eager=True,
        skip_tokenizer_init=True,
        speculative_config={**asked, "model": str(head)},
    )
    return arguments.create_engine_config()


def load(config: Any, head: Path) -> None:
    """Write the weights of one head as vLLM's loader leaves them, before kernels repack them."""
    drafts = config.speculative_config
    loader, draft_config = get_model_loader(config.load_config), drafts.draft_model_config
    model = loader.create_model(vllm_config=config, model_config=draft_config)
    loader.load_weights(model, draft_config)
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    save_file(weights, head.with_suffix(".safetensors"))
    read = {
        "class": type(model).__name__,
        "method": drafts.method,
        "tokens": drafts.num_speculative_tokens,
        "layers": get_eagle3_aux_layers_from_config(drafts),
        "mask_token": getattr(model.model, "mask_token_id", None),
        "causal": model.get_draft_attn_causal(),
    }
    head.with_suffix(".read.json").write_text(json.dumps(read))


def main(folder: Path) -> None:
    """Load every head in one process."""
    # Without Triton no runner of vLLM drafts with DSpark; here nothing is run.
    VllmConfig._validate_v1_model_runner = lambda _: None
    heads = sorted(each for each in (folder / "heads").iterdir() if each.is_dir())
    with tempfile.NamedTemporaryFile() as meeting:
        for number, head in enumerate(heads):
            config = configure(folder / "target", head)
            with set_current_vllm_config(config):
                if number == 0:
                    init_distributed_environment(1, 0, f"file://{meeting.name}", 0, "gloo")
                    initialize_model_parallel(1, 1)
                load(config, head)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
