"""What a server says about itself: its models by every name, its software, its settings."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient, RequestFailed
from draftmark.text import printable_text

SOFTWARE = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp"}  # by `owned_by`
_SHOWN = 8  # names of models in a message
# Settings of SGLang that are kept: others may hold keys.
_SGLANG = (
    *("speculative_algorithm", "speculative_draft_model_path", "speculative_num_steps"),
    *("speculative_eagle_topk", "speculative_num_draft_tokens", "dtype", "model_path", "version"),
)


class _Card(BaseModel):
    """A model in GET /v1/models; fields that draftmark does not read are ignored."""

    model_config = ConfigDict(strict=True)

    id: str
    root: str | None = None
    aliases: list[str] = []
    owned_by: str | None = None


class _Cards(BaseModel):
    data: Annotated[list[_Card], Field(min_length=1)]


@dataclass(frozen=True)
class ServedModel:
    """A model at a server.

    `name` goes into requests; `names` are all that the server has for it, also in its metrics;
    `root` is the folder or hub name that it was loaded from, where the server says so. `software`
    is "vLLM", "SGLang", "llama.cpp", or "" if unknown. `facts` are settings of the server.
    """

    name: str
    names: tuple[str, ...]
    root: str = ""
    software: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def find_model(client: HttpClient, wanted: str | None) -> ServedModel:
    """Return the model called `wanted` by any of its names, or the only one for None.

    A server without a list of models is asked for `wanted` as it is. Raises UserError with the
    choices for another name, and for no name where the server has several models.
    """
    cards = _cards(client)
    if not cards:
        if wanted is None:
            raise UserError(f"{client.url} has no list of models; name the model with --model.")
        return ServedModel(wanted, (wanted,))
    card = _chosen(cards, wanted, client.url)
    names = {name for each in cards if _same(each, card) for name in (each.id, *each.aliases)}
    software = SOFTWARE.get(card.owned_by or "", "")
    root = card.root or card.id
    return ServedModel(
        card.id, (card.id, *sorted(names - {card.id})), root, software, _facts(client, software)
    )


def _cards(client: HttpClient) -> list[_Card]:
    """Return the models of a server; empty if it has no such list."""
    with suppress(RequestFailed, ValidationError):
        return _Cards.model_validate_json(client.read("models")).data
    return []


def _same(card: _Card, other: _Card) -> bool:
    return card.id == other.id or (card.root is not None and card.root == other.root)


def _chosen(cards: Sequence[_Card], wanted: str | None, url: str) -> _Card:
    """Return the card with a name: its id, an alias, its root, or the last part of its root."""
    if wanted is None:
        if len({card.root or card.id for card in cards}) == 1:
            return cards[0]
        raise UserError(f"{url} serves several models; choose one with --model: {_listed(cards)}.")
    for matches in (
        [card for card in cards if wanted == card.id],
        [card for card in cards if wanted in card.aliases],
        [card for card in cards if card.root and wanted.rstrip("/") == card.root.rstrip("/")],
        [card for card in cards if wanted == PurePath(card.root or card.id).name],
    ):
        if matches:
            return matches[0]
    raise UserError(f"{url} does not serve {wanted!r}; it serves: {_listed(cards)}.")


def _listed(cards: Sequence[_Card]) -> str:
    names = [
        card.id if card.root in (None, card.id) else f"{card.id} ({card.root})"
        for card in cards[:_SHOWN]
    ]
    more = f" and {len(cards) - _SHOWN} more" if len(cards) > _SHOWN else ""
    return printable_text(", ".join(names), 1000) + more


def _facts(client: HttpClient, software: str) -> dict[str, Any]:
    """Return what a server of known software says of its version and of speculation."""
    if software == "vLLM":
        return _some(_document(client, "/version"), ("version",))
    if software == "SGLang":
        found = _document(client, "/get_server_info") or _document(client, "/server_info")
        return _some(found, _SGLANG)
    if software == "llama.cpp":
        found = _document(client, "/props")
        settings = found.get("default_generation_settings")
        parameters = settings.get("params") if isinstance(settings, dict) else None
        named = parameters if isinstance(parameters, dict) else {}
        speculation = {name: named[name] for name in named if name.startswith("speculative.")}
        return _some({**found, **speculation}, ("build_info", "model_path", *speculation))
    return {}


def _some(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the named values that are plain."""
    plain = (str, int, float, bool)
    return {name: found[name] for name in names if isinstance(found.get(name), plain)}


def _document(client: HttpClient, path: str) -> dict[str, Any]:
    """Return the JSON object at a path; empty if the server has none."""
    with suppress(RequestFailed, ValueError, RecursionError):
        found = json.loads(client.read(path))
        return found if isinstance(found, dict) else {}
    return {}
