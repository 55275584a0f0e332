"""The sentence of each kind of failure of the Hugging Face hub, with the fix."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from draftmark.errors import UserError

SETTINGS = "https://huggingface.co/settings/tokens"


class HubError(UserError):
    """The hub does not give what was asked of it."""


class Damaged(UserError):
    """A file does not have the hash that the hub lists for it."""


class Busy(Exception):
    """The hub answered 408, 429 or 5xx; `wait_s` is the wait that it asks for, or None."""

    def __init__(self, status: int, wait_s: float | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.wait_s = status, wait_s


class NoAnswer(Exception):
    """The hub did not answer a request; the cause says why."""


@dataclass(frozen=True)
class Repository:
    """A model or a data set on the hub."""

    name: str  # "openai/gsm8k"
    kind: Literal["model", "dataset"] = "model"

    def __str__(self) -> str:
        return f"{'data set' if self.kind == 'dataset' else 'model'} {self.name}"

    @property
    def page(self) -> str:
        """The address of the repository's page."""
        return f"{endpoint()}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"


def endpoint() -> str:
    """Return the address of the hub: HF_ENDPOINT, else huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def explain(error: Exception, repository: Repository, revision: str) -> HubError | None:
    """Return the error to show for a failure of the hub's client; None if it is not one."""
    import httpx2
    from huggingface_hub import errors

    for found in _chain(error):
        match found:
            case HubError():
                return found
            case Busy():
                return HubError(_busy(found))
            case httpx2.RequestError() | httpx2.InvalidURL() | NoAnswer():
                return HubError(_no_answer(found))
            case errors.OfflineModeIsEnabled():
                return HubError(offline(f"{repository} at {revision}"))
            case errors.HfHubHTTPError():
                return HubError(_refused(found, repository, revision))
    return _odd(error, repository)


def _odd(error: Exception, repository: Repository) -> HubError | None:
    """Return the error to show for what is neither a refusal nor silence."""
    from huggingface_hub import errors

    reason = _first_line(error)
    if isinstance(error, errors.HFValidationError):
        return HubError(f"{repository.name!r} is not a name on the hub ({reason}).")
    odd = (errors.FileMetadataError, errors.LocalEntryNotFoundError)
    if isinstance(error, (*odd, ValueError, LookupError, TypeError)):  # of what is not a hub's JSON
        return HubError(
            f"{endpoint()} does not answer as a hub does ({reason}); check HF_ENDPOINT and the "
            "proxies."
        )
    if isinstance(error, OSError) and error.errno is None:
        return HubError(f"A file of the {repository} did not come whole ({reason}); run again.")
    if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return HubError(
            f"The cache cannot be written ({reason}); set HF_HOME (rows) or DRAFTMARK_CACHE "
            "(models) to another folder."
        )
    return None


def offline(what: str) -> str:
    """Return the sentence of what is not in the cache of a machine that must not ask the hub."""
    return (
        f"{what} is not in the cache, and HF_HUB_OFFLINE is set; unset it, or copy the cache from "
        "a machine that has it."
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and its causes, the first cause first."""
    return [*_chain(error.__cause__), error] if error else []


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:160] or type(error).__name__


def _busy(error: Busy) -> str:
    if error.status != 429:
        return f"{endpoint()} fails (status {error.status}); run again later."
    wait = "" if error.wait_s is None else f" for {error.wait_s:.0f} s"
    more = "" if _has_token() else ", or set HF_TOKEN, which allows more requests"
    return f"{endpoint()} takes no more requests{wait} (status 429); run again then{more}."


def _no_answer(error: Exception) -> str:
    import httpx2

    reason = _first_line(error)
    if isinstance(error, httpx2.ProxyError):
        return f"The proxy refuses the way to {endpoint()} ({reason}); check HTTPS_PROXY."
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
        return f"{endpoint()} closed the connection ({reason}); check the network, and run again."
    if isinstance(error, httpx2.TimeoutException):
        reason = "time-out"
    fix = "set SSL_CERT_FILE" if "CERTIFICATE" in reason else "check the network"
    return f"{endpoint()} does not answer ({reason}); {fix}, HF_ENDPOINT and the proxies."


def _refused(error: Any, repository: Repository, revision: str) -> str:
    """Return the sentence of an answer that is a refusal, not a failure of the server."""
    from huggingface_hub import errors

    kinds: list[tuple[type, Callable[[Any, Repository, str], str]]] = [
        (errors.GatedRepoError, _gated),
        (errors.RevisionNotFoundError, _no_revision),
        (errors.RemoteEntryNotFoundError, _no_file),
        (errors.RepositoryNotFoundError, _no_repository),
    ]
    for kind, sentence in kinds:
        if isinstance(error, kind):
            return sentence(error, repository, revision)
    return _by_status(error, repository)


def _gated(_: Any, repository: Repository, __: str) -> str:
    if _has_token():
        return (
            f"The {repository} is gated, and the account of your token has no access; ask for it "
            f"at {repository.page}, and let the token read gated repositories."
        )
    return (
        f"The {repository} is gated; ask for access at {repository.page}, then set HF_TOKEN to a "
        f"token of that account ({SETTINGS})."
    )


def _no_revision(_: Any, repository: Repository, revision: str) -> str:
    return f"The {repository} has no revision {revision!r}; name a branch, a tag or a whole commit."


def _no_file(error: Any, repository: Repository, revision: str) -> str:
    path = str(error.response.request.url).rpartition(f"/{revision}/")[2]
    return f"The {repository} has no file {path!r} at {revision}; check the name."


def _no_repository(_: Any, repository: Repository, __: str) -> str:
    reader = "that your token may read" if _has_token() else "that is public"
    fix = "another token" if _has_token() else "a token"
    return (
        f"{endpoint()} has no {repository} {reader}; check the name, or, if it is private, set "
        f"HF_TOKEN to {fix}."
    )


def _by_status(error: Any, repository: Repository) -> str:
    status = error.response.status_code
    said = error.server_message or error.response.reason_phrase
    if status == 401 and _has_token():
        return (
            f"{endpoint()} refuses the token (status 401: {said}); set HF_TOKEN to a valid one "
            f"({SETTINGS}), or unset it."
        )
    fixes = dict.fromkeys((401, 403), "check what the token may read")
    fixes[407] = "name the proxy's user and password in HTTPS_PROXY"
    fix = fixes.get(status, "check HF_ENDPOINT")
    return f"{endpoint()} refuses the {repository} (status {status}: {said}); {fix}."


def _has_token() -> bool:
    import huggingface_hub

    return huggingface_hub.get_token() is not None
