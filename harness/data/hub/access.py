"""How this machine reaches the hub: address, token, cache and proxies, for `draftmark doctor`."""

import os
from pathlib import Path
from urllib.request import getproxies

from draftmark.data.hub.failures import HubError, Repository, endpoint
from draftmark.data.hub.files import is_offline


def describe_access() -> str:
    """Return the hub's address, and if it answers this machine, to whom; it is asked once."""
    if is_offline():
        return f"{endpoint()} is not asked: HF_HUB_OFFLINE is set"
    try:
        status, name = _whoami()
    except HubError as error:
        return str(error)
    if status == 200:
        return f"{endpoint()} answers {name}, whose token is in {_token_place()}"
    if status == 401 and _token_place():
        return f"{endpoint()} answers, and refuses the token in {_token_place()}"
    return f"{endpoint()} answers; no token, which private and gated repositories need (HF_TOKEN)"


def cache_folder() -> Path:
    """Return the folder of the hub's cache, which HF_HOME moves."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def describe_proxies() -> str:
    """Return the proxies of the environment without users and passwords."""
    found = sorted(item for item in getproxies().items() if item[0] != "no")
    named = [f"{kind} {value.rpartition('@')[2].rpartition('//')[2]}" for kind, value in found]
    without = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    return (", ".join(named) or "none") + (f", except for {without}" if named and without else "")


def _whoami() -> tuple[int, str]:
    """Return the status of the hub's answer, and the name of the token's account."""
    import huggingface_hub
    from huggingface_hub.utils import build_hf_headers

    from draftmark.data.hub.session import ask  # loads the client of HTTP

    def call() -> tuple[int, str]:
        address = f"{endpoint()}/api/whoami-v2"
        answer = huggingface_hub.get_session().get(address, headers=build_hf_headers())
        return answer.status_code, str(answer.json()["name"]) if answer.status_code == 200 else ""

    return ask(call, Repository("whoami-v2"), "main", lambda line: None)


def _token_place() -> str:
    """Return the name of the variable or file that holds the token, "" without one."""
    import huggingface_hub
    from huggingface_hub import constants

    if huggingface_hub.get_token() is None:
        return ""
    variables = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    named = [variable for variable in variables if os.environ.get(variable)]
    return named[0] if named else str(constants.HF_TOKEN_PATH)
