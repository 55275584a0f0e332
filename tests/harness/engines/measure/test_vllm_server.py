"""A live vLLM server: its counts of each request are those that scoring predicts."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import vllm_server
from head_cases import TRAINED

from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.cli import main
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.environment import install_hint
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_exports import export_head
from draftmark.models.language_model import LanguageModel, save_model
from draftmark.speculation.blocks import VLLM, block_counts
from draftmark.speculation.interfaces import Method
from draftmark.store.run_folder import load_results
from draftmark.store.served_records import read_requests
from draftmark.types import GREEDY, Placement, Prompt, Samplers

LIMIT, GAMMA, PROMPTS = 24, 3, 6
needs_server = pytest.mark.skipif(
    not all(find_spec(name) for name in ("vllm", "uvicorn", "prometheus_fastapi_instrumentator")),
    reason=f"vLLM's server is not installed; {install_hint('vllm')}",
)
Made = tuple[Method, Path, dict[str, Any]]  # the folder that draftmark scores, vLLM's settings


@pytest.fixture
def make(
    draft: Any,
    tokenizer: Any,
    trained_heads: Callable[[str], FeatureHead],
    tmp_path: Path,
) -> Callable[[str], Made]:
    """Return a function that makes a draft by vLLM's name of its method."""

    def made(name: str) -> Made:
        folder = tmp_path / "draft"
        folder.mkdir()
        if name == "draft_model":
            save_model(draft, tokenizer, folder)
            return Untrained(), folder, {"method": name, "model": str(folder)}
        method, head = TRAINED["eagle3, cut"], trained_heads("eagle3, cut")
        save_model(head, tokenizer, folder)
        layout = tmp_path / "exported"
        export_head(head, "eagle3", layout, target="", num_speculative_tokens=GAMMA)
        return method, folder, {"method": name, "model": str(layout)}

    return made


def measure(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command, with the second of the model's names."""
    command = ["measure-server", url, "--model", "second", "--out", str(folder)]
    sizes = ["--prompts", str(PROMPTS), "--blocks", "2", "--max-tokens", str(LIMIT)]
    monkeypatch.setattr("sys.argv", ["draftmark", *command, *sizes, "--concurrency", "2"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 0


@needs_server
@pytest.mark.slow
@pytest.mark.parametrize("name", ["draft_model", "eagle3"])
def test_a_live_servers_counts_of_each_request_are_those_that_scoring_predicts(
    name: str,
    vllm_python: str,
    make: Callable[[str], Made],
    prompts: list[Prompt],
    write: Any,
    target: LanguageModel,
    tiny_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    method, folder, settings = make(name)
    settings["num_speculative_tokens"] = GAMMA
    run = tmp_path / "run"
    with vllm_server.serve(vllm_python, tiny_directory, settings, tmp_path / "log") as url:
        measure(url, run, monkeypatch)
    texts = write(prompts[:PROMPTS], 0.0, max_new_tokens=LIMIT)
    logits = read_target_logits(target, texts)
    scored = method.drafter(folder, Placement()).score(
        logits.final_states.texts, logits, Samplers(GREEDY, GREEDY)
    )
    tables = list(scored)
    predicted, names = block_counts(tables, GAMMA, VLLM), [table.example_id for table in tables]
    requests = read_requests(run / "records/00/requests.parquet")
    assert len(requests) == 2 * PROMPTS
    for item in requests:
        place, counts = names.index(item.example_id), item.counts
        assert counts is not None
        assert item.num_tokens - 1 == predicted.tokens_B[place]
        assert counts.drafts == predicted.passes_B[place]
        assert counts.drafted == predicted.drafted_B[place]
        # Of the tokens past the end the last is the target's own, the others were accepted.
        past = counts.accepted + counts.drafts - (item.num_tokens - 1)
        beyond = max(past - 1, 0)
        assert counts.accepted - beyond == predicted.accepted_B[place]
        assert item.later_tokens == item.num_tokens - 1  # prefill's token came alone
    number = load_results(run).results[0].numbers[f"block_efficiency[t=0,gamma={GAMMA}]"]
    pooled = predicted.tokens_B.sum() / predicted.passes_B.sum()
    assert number.value == pytest.approx(pooled, rel=1e-12)
    assert number.n == PROMPTS
    shown = capsys.readouterr().out
    assert "other requests" not in shown
    counted = json.loads((run / "measured.json").read_text("utf-8"))["runs"][0]["draft"]["counted"]
    assert counted["drafts"] == sum(item.counts.drafts or 0 for item in requests if item.counts)
