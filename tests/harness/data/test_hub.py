"""The hub's client against a local hub: every failure is one sentence, every file has its hash.

Each child process asks for several repositories, because a process takes a second to start.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_hub import Fault, LocalHub, serve_hub

# Fetches all files of repositories; prints "name: fetched PATHS" or "name: SENTENCE".
CHILD = """
import json, sys
from draftmark.data.hub import files
from draftmark.data.hub.failures import Repository
from draftmark.errors import UserError
from draftmark.progress import Progress

progress = Progress()
for name in json.loads(sys.argv[1]):
    repository, _, revision = name.partition("@")
    try:
        commit = files.resolve(Repository(repository), revision or "main", progress.say)
        listed = files.list_files(commit, progress.say)
        copies = files.fetch_files(commit, listed, progress)
        print(f"{name}: fetched {', '.join(file.path for file in copies)}", flush=True)
    except UserError as error:
        print(f"{name}: {error}", flush=True)
"""
WEIGHTS = bytes(range(256)) * 2**12  # 1 MiB
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
SOON = {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}  # seconds


@dataclass(frozen=True)
class Outcome:
    """What a child printed on each repository, and the lines of its progress."""

    sentences: Mapping[str, str]
    progress: str


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with serve_hub() as server:
        for name in ("toy", "cut", "flaky", "corrupt", "huge", "brief", "dropped", "moved"):
            server.add(f"models/org/{name}", FILES)
        for name in (
            "busy",
            "limited",
            "failing",
            "forbidden",
            "page",
            "hanging",
            "odd",
            "looping",
            "lying",
        ):
            server.add(f"models/org/{name}", FILES)
        server.add("models/org/gated", FILES, gated=True)
        server.add("models/org/mine", FILES, gated=True, readers=("hf_reader",))
        server.add("models/org/private", FILES, private=True)
        server.faults += [
            Fault("GET /storage/models/org/cut", cut_after=600_000, times=1),
            Fault("GET /storage/models/org/flaky", corrupt=True, times=1),
            Fault("GET /storage/models/org/corrupt", corrupt=True),
            Fault("org/huge", claim_size=10**16),
            Fault("HEAD /org/brief", status=429, headers={"Retry-After": "0"}, times=2),
            Fault("HEAD /org/dropped", drop=True, times=1),
            Fault("org/busy", status=429, headers={"Retry-After": "300"}),
            Fault("HEAD /org/limited", status=429, headers={"RateLimit": '"api";r=0;t=299'}),
            Fault("org/failing", status=503, headers={"Retry-After": "0"}),
            Fault("HEAD /org/forbidden", status=403, headers={"X-Error-Message": "Not you"}),
            Fault("org/page", status=200, body=b"<html>Log in to this network</html>"),
            Fault("org/odd/tree", status=200, body=b'[{"type": "file", "path": "a"}]'),
            Fault("org/looping", status=302, headers={"Location": "/org/looping"}),
            Fault("org/lying", claim_size=len(WEIGHTS) + 1),
            Fault("HEAD /org/hanging", hang_s=60),
        ]
        yield server


def _ask(hub: LocalHub, home: Path, *names: str, before: str = "", **environment: str) -> Outcome:
    child = subprocess.run(
        [sys.executable, "-c", before + CHILD, json.dumps(names)],
        env=hub.environment(home, **environment),
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    sentences = dict(line.split(": ", 1) for line in child.stdout.splitlines())
    assert [*sentences] == [*names]
    return Outcome(sentences, child.stderr)


@pytest.fixture(scope="module")
def without_token(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    names = ["toy", "cut", "flaky", "corrupt", "huge", "brief", "dropped", "busy", "limited"]
    names += [
        "failing",
        "forbidden",
        "page",
        "odd",
        "looping",
        "lying",
        "hanging",
        "gated",
        "private",
        "absent",
    ]
    names += ["toy@v9", "not a name"]
    asked = [f"org/{name}" for name in names]
    return _ask(hub, tmp_path_factory.mktemp("home"), *asked, **SOON)


FETCHED = "fetched config.json, model.safetensors"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("toy", FETCHED),
        ("cut", FETCHED),
        ("flaky", FETCHED),
        ("brief", FETCHED),
        ("dropped", FETCHED),
        (
            "corrupt",
            "model.safetensors of org/corrupt@{commit} came 2 times without the hash that the hub "
            "lists; check the proxies and HF_ENDPOINT, and run again.",
        ),
        ("busy", "{hub} takes no more requests for 300 s (status 429); run again then, or set "
        "HF_TOKEN, which allows more requests."),
        ("limited", "{hub} takes no more requests for 299 s (status 429); run again then, or set "
        "HF_TOKEN, which allows more requests."),
        ("failing", "{hub} fails (status 503); run again later."),
        ("forbidden", "{hub} refuses the model org/forbidden (status 403: Not you); check what the "
        "token may read."),
        ("hanging", "{hub} does not answer (time-out); check the network, HF_ENDPOINT and the "
        "proxies."),
        ("gated", "The model org/gated is gated; ask for access at {hub}/org/gated, then set "
        "HF_TOKEN to a token of that account (https://huggingface.co/settings/tokens)."),
        ("private", "{hub} has no model org/private that is public; check the name, or, if it is "
        "private, set HF_TOKEN to a token."),
        ("absent", "{hub} has no model org/absent that is public; check the name, or, if it is "
        "private, set HF_TOKEN to a token."),
        ("toy@v9", "The model org/toy has no revision 'v9'; name a branch, a tag or a whole "
        "commit."),
    ],
)  # fmt: skip
def test_what_a_hub_does_is_one_sentence(
    name: str, sentence: str, hub: LocalHub, without_token: Outcome
) -> None:
    commit = next(iter(hub.repositories["models/org/toy"].commits))[:7]

    assert without_token.sentences[f"org/{name}"] == sentence.format(hub=hub.address, commit=commit)


def test_a_file_larger_than_the_disk_is_not_begun(hub: LocalHub, without_token: Outcome) -> None:
    sentence = without_token.sentences["org/huge"]

    assert sentence.startswith("The disk of ")
    assert " is too small for 2 files (10000 TB) of org/huge@" in sentence
    assert " free); free some space, or move the cache to another disk." in sentence
    assert not [ask for ask in hub.requests if "org/huge/resolve" in ask.path]


@pytest.mark.parametrize("name", ["page", "odd"])
def test_an_answer_that_is_not_a_hubs_is_named(
    name: str, hub: LocalHub, without_token: Outcome
) -> None:
    sentence = without_token.sentences[f"org/{name}"]

    assert sentence.startswith(f"{hub.address} does not answer as a hub does (")
    assert sentence.endswith("); check HF_ENDPOINT and the proxies.")


def test_odd_names_and_answers_are_named(hub: LocalHub, without_token: Outcome) -> None:
    looping, lying = (without_token.sentences[f"org/{name}"] for name in ("looping", "lying"))

    assert looping.startswith(f"{hub.address} does not answer (Exceeded maximum allowed redirects")
    assert lying.startswith("A file of the model org/lying did not come whole (Consistency check")
    assert without_token.sentences["org/not a name"].startswith("'org/not a name' is not a name on")


def test_waits_are_printed_and_the_clients_own_words_are_not(without_token: Outcome) -> None:
    lines = without_token.progress.splitlines()

    assert lines.count("The hub is asked again in 0 s: status 429.") == 2
    assert lines.count("The hub is asked again in 1 s: it closed the connection.") == 1
    assert sum("does not have the hash that the hub lists" in line for line in lines) == 3
    assert not [line for line in lines if "Retrying" in line or "Traceback" in line]


def test_the_size_is_printed_before_the_download(hub: LocalHub, without_token: Outcome) -> None:
    lines = [line for line in without_token.progress.splitlines() if "org/toy@" in line]

    assert len(lines) == 1
    assert lines[0].startswith("Fetching 2 files (1.0 MB) of org/toy@")
    assert f" from {hub.address} (" in lines[0]
    assert lines[0].endswith(" free) ...")


def test_a_cut_file_is_resumed_where_it_was_cut(hub: LocalHub, without_token: Outcome) -> None:
    asked = [ask for ask in hub.requests if "/storage/models/org/cut" in ask.path]

    assert [ask.range for ask in asked] == [None, f"bytes={2 * 2**18}-"]
    assert asked[1].sent == len(WEIGHTS) - 2 * 2**18


def test_each_file_is_asked_for_once_and_its_token_stays_with_the_hub(
    hub: LocalHub, tmp_path: Path
) -> None:
    hub.take_requests()
    first = _ask(hub, tmp_path, "org/mine", HF_TOKEN="hf_reader")
    asked = hub.take_requests()
    again = _ask(hub, tmp_path, "org/mine@" + hub.repositories["models/org/mine"].branches["main"])

    assert first.sentences["org/mine"] == FETCHED
    kinds = [f"{ask.method} {ask.path.split('/')[1]} {ask.has_token}" for ask in asked]
    resolve_small, resolve_large = ["HEAD org True", "GET org True"], ["HEAD org True"]
    assert kinds == ["GET api True"] * 2 + resolve_small + resolve_large + ["GET storage False"]
    assert [*again.sentences.values()] == [FETCHED]
    assert hub.take_requests() == []


def test_what_a_token_may_not_read_is_one_sentence(hub: LocalHub, tmp_path: Path) -> None:
    asked = _ask(hub, tmp_path, "org/gated", "org/private", HF_TOKEN="hf_reader")

    assert asked.sentences == {
        "org/gated": "The model org/gated is gated, and the account of your token has no access; "
        f"ask for it at {hub.address}/org/gated, and let the token read gated repositories.",
        "org/private": f"{hub.address} has no model org/private that your token may read; check "
        "the name, or, if it is private, set HF_TOKEN to another token.",
    }


def test_a_wrong_token_is_one_sentence(hub: LocalHub, tmp_path: Path) -> None:
    asked = _ask(hub, tmp_path, "org/toy", HF_TOKEN="hf_wrong")

    assert asked.sentences["org/toy"] == (
        f"{hub.address} refuses the token (status 401: Invalid credentials in Authorization "
        "header); set HF_TOKEN to a valid one (https://huggingface.co/settings/tokens), or unset "
        "it."
    )


def test_the_doctor_names_the_account_of_the_token(hub: LocalHub, tmp_path: Path) -> None:
    script = (
        "import os; from draftmark.data.hub.access import describe_access, describe_proxies\n"
        "for token in ('', 'hf_reader', 'hf_wrong'):\n"
        "    os.environ['HF_TOKEN'] = token; print(describe_access())\n"
        "os.environ['HTTPS_PROXY'] = 'http://me:secret@proxy.example:3128'\n"
        "print(describe_proxies())"
    )
    child = subprocess.run(
        [sys.executable, "-c", script],
        env=hub.environment(tmp_path),
        capture_output=True,
        text=True,
    )

    assert child.stdout.splitlines() == [
        f"{hub.address} answers; no token, which private and gated repositories need (HF_TOKEN)",
        f"{hub.address} answers reader, whose token is in HF_TOKEN",
        f"{hub.address} answers, and refuses the token in HF_TOKEN",
        "https proxy.example:3128, except for 127.0.0.1,localhost",
    ]


def test_a_machine_that_must_not_ask_asks_nothing(hub: LocalHub, tmp_path: Path) -> None:
    hub.take_requests()
    commit = hub.repositories["models/org/toy"].branches["main"]

    asked = _ask(hub, tmp_path, "org/toy", f"org/toy@{commit}", HF_HUB_OFFLINE="1")

    fix = "; unset it, or copy the cache from a machine that has it."
    assert asked.sentences == {
        "org/toy": f"org/toy@main is not in the cache, and HF_HUB_OFFLINE is set{fix}",
        f"org/toy@{commit}": f"org/toy@{commit[:7]} is not in the cache, and HF_HUB_OFFLINE is "
        f"set{fix}",
    }
    assert hub.take_requests() == []


def test_a_hub_that_is_down_is_an_error_at_once(hub: LocalHub, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    started = time.monotonic()

    asked = _ask(hub, tmp_path, "org/toy", HF_ENDPOINT=nobody)

    assert asked.sentences["org/toy"].startswith(f"{nobody} does not answer (")
    assert "Connection refused" in asked.sentences["org/toy"]
    assert "asked again" not in asked.progress
    assert time.monotonic() - started < 60  # the client alone would wait for two minutes


def test_a_proxy_is_honoured(hub: LocalHub, tmp_path: Path) -> None:
    """The local hub answers as a proxy too: it takes whole addresses, of a host that no one has."""
    behind = {"HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": hub.address}

    asked = _ask(hub, tmp_path, "org/toy", **behind)

    assert asked.sentences["org/toy"] == FETCHED


def test_a_hub_that_drips_or_floods_is_given_up(
    hub: LocalHub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At a rate that no time-out for a packet sees; and a list without an end."""
    hub.add("models/org/drips", FILES)
    hub.faults.append(Fault("GET .*org/drips/.*safetensors", rate=500_000))
    limits = "from draftmark.data.hub import session as s\ns.GRACE_S, s.SLOWEST = 0.2, 10**7\n"
    slow = _ask(hub, tmp_path_factory.mktemp("home"), "org/drips", before=limits, **SOON)
    limits = "from draftmark.data.hub import session as s\ns.MAX_LIST_BYTES = 100\n"
    long = _ask(hub, tmp_path_factory.mktemp("home"), "org/drips", before=limits, **SOON)

    assert (
        "does not answer (it sends fewer than 10,000,000 bytes a second)"
        in (slow.sentences["org/drips"])
    )
    assert "does not answer (its list has more than 100 bytes)" in long.sentences["org/drips"]
