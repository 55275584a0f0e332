"""A served model is found by any of its names, and a server says what it is."""

from typing import Any

import pytest
from model_server import MODEL, Server, serve
from server_replies import ROOT, llama_cpp, sglang, vllm

from draftmark.engines.measure.served_model import find_model
from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient

SEVERAL = [
    {"id": "chat", "owned_by": "vllm", "root": "org/Big-7B"},
    {"id": "chat-long", "owned_by": "vllm", "root": "org/Big-7B"},
    {"id": "adapter", "owned_by": "vllm", "root": "adapters/a"},
]


def found(server: Server, wanted: str | None) -> Any:
    with serve(server):
        return find_model(HttpClient(server.url), wanted)


@pytest.mark.parametrize("wanted", [None, MODEL, ROOT, f"{ROOT}/", "tiny-target"])
def test_a_model_is_found_by_id_root_or_the_last_part_of_the_root(wanted: str | None) -> None:
    model = found(vllm(), wanted)
    assert (model.name, model.root, model.software) == (MODEL, ROOT, "vLLM")
    assert model.facts == {"version": "0.32.0"}


@pytest.mark.parametrize("wanted", ["chat", "chat-long", "org/Big-7B", "Big-7B"])
def test_all_names_of_one_root_are_names_of_the_model(wanted: str) -> None:
    model = found(Server(pages={"/v1/models": {"data": SEVERAL}}), wanted)
    assert set(model.names) == {"chat", "chat-long"}
    assert model.name == (wanted if wanted.startswith("chat") else "chat")


@pytest.mark.parametrize("wanted", ["gpt", None])
def test_a_wrong_name_gives_the_choices(wanted: str | None) -> None:
    with pytest.raises(UserError) as error:
        found(Server(pages={"/v1/models": {"data": SEVERAL}}), wanted)
    assert "chat (org/Big-7B), chat-long (org/Big-7B), adapter (adapters/a)" in str(error.value)
    assert (repr(wanted) if wanted else "--model") in str(error.value)


@pytest.mark.parametrize("page", [None, {}, {"data": []}, {"data": [{"name": 1}]}, "odd", [1]])
def test_a_server_without_a_list_is_asked_for_the_name_as_it_is(page: Any) -> None:
    pages = {} if page is None else {"/v1/models": page}
    model = found(Server(pages=pages), "any")
    assert (model.name, model.names, model.software) == ("any", ("any",), "")
    with pytest.raises(UserError, match="name the model with --model"):
        found(Server(pages=pages), None)


def test_a_servers_own_facts_are_kept_and_no_key() -> None:
    facts = found(sglang(), None).facts
    assert facts["speculative_num_steps"] == 3
    assert "api_key" not in facts
    assert found(llama_cpp(), None).facts == {"build_info": "b6000-abc", "model_path": "m.gguf"}
    alias = {"/v1/models": {"data": [{"id": "m.gguf", "aliases": ["short"], "owned_by": "x"}]}}
    assert found(Server(pages=alias), "short").name == "m.gguf"
