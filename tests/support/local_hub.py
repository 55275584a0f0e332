"""A local server that speaks the protocol of the Hugging Face hub, for tests of what asks it.

    with serve_hub() as hub:
        hub.add("datasets/org/toy", {"data/train-00000-of-00001.parquet": data})
        subprocess.run(command, env=hub.environment(folder))

It has the API of models and data sets (facts, trees, refs, whoami), `resolve` with redirects to a
second host, ranges, gated and private repositories, branches that move, and faults (`Fault`). It
has no Xet and takes no uploads. `hub.requests` is the log of all requests.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".parquet", ".gguf", ".model", ".h5")
CHUNK = 16 * 2**10  # bytes
_ID = r"(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_API = re.compile(
    rf"/api/{_ID}(?:/(?P<verb>\w[\w-]*)(?:/(?P<revision>[^/]+)(?:/(?P<under>.+))?)?)?"
)
_RESOLVE = re.compile(
    r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)
_STORAGE = re.compile(rf"/storage/{_ID}/(?P<commit>\w+)/(?P<path>.+)")


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD path" a pattern is found in."""

    match: str
    times: int = 10**9  # so many requests, after `skip` ones
    skip: int = 0
    status: int = 0  # the answer's status, instead of the answer
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""  # of that answer
    hang_s: float = 0  # no answer for so long, then the connection is closed
    drop: bool = False  # the connection is closed at once
    rate: float = 0  # bytes per second
    cut_after: int | None = None  # bytes of the body, then the connection is closed
    corrupt: bool = False  # one byte is changed
    claim_size: int = 0  # the size of files in LFS, by trees and headers
    call: Callable[[], None] | None = None  # runs before the answer, such as a branch's move
    seen: int = 0

    def applies(self, request: str) -> bool:
        """Count a request that matches; return True if it goes wrong."""
        if not re.search(self.match, request):
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times


@dataclass(frozen=True)
class Request:
    """A request, and how it was answered."""

    method: str
    path: str
    range: str | None
    has_token: bool
    status: int  # 0: the connection was closed without an answer
    sent: int  # bytes of the body
    arrived: float = field(default=0.0, compare=False)  # s, of a monotonic clock

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


@dataclass(frozen=True)
class HubFile:
    """A file of a commit."""

    path: str
    data: bytes

    @property
    def is_lfs(self) -> bool:
        """True if the hub keeps the file outside git."""
        return self.path.endswith(LFS_SUFFIXES)

    @cached_property
    def blob_id(self) -> str:
        """Git's name of the file's content."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file's content."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        """The hash that the hub answers with."""
        return self.sha256 if self.is_lfs else self.blob_id

    def entry(self, claimed: int = 0) -> dict[str, Any]:
        """Return the file's entry in a tree, maybe with a claimed size."""
        size = claimed if claimed and self.is_lfs else len(self.data)
        entry = {"type": "file", "oid": self.blob_id, "size": size, "path": self.path}
        if self.is_lfs:
            entry["lfs"] = {"oid": self.sha256, "size": size, "pointerSize": 134}
        return entry


@dataclass
class Repository:
    """A model or data set: its commits, its branches, and who may read it."""

    commits: dict[str, dict[str, HubFile]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    readers: tuple[str, ...] = ()  # tokens


class Refusal(Exception):
    """An answer that is not a success: its status, the hub's code for it, and its words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class LocalHub(ThreadingHTTPServer):
    """The server, its repositories, the faults and the log of requests."""

    daemon_threads = True
    tree_page = 50  # entries on a page of a tree

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.tokens: dict[str, str] = {"hf_reader": "reader"}  # token -> name of its user
        self.lock, self.stopped = Lock(), Event()

    @property
    def address(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """The address of large files: another host, so clients ask it without their token."""
        return f"http://localhost:{self.server_port}"

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        commit: str = "",
        branch: str = "main",
        **access: Any,
    ) -> str:
        """Add a commit to "models/org/name" or "datasets/org/name"; return its hash.

        A branch moves to the commit, which then holds `files` and no other. `access` sets fields of
        the `Repository`.
        """
        repository = self.repositories.setdefault(name, Repository())
        for key, value in access.items():
            setattr(repository, key, value)
        held = {path: HubFile(path, data) for path, data in sorted(files.items())}
        names = json.dumps([[item.path, item.blob_id] for item in held.values()])
        commit = commit or hashlib.sha1(names.encode()).hexdigest()
        repository.commits[commit] = held
        repository.branches[branch] = commit
        return commit

    def environment(self, home: Path, **others: str) -> dict[str, str]:
        """Return the environment of a child process whose hub this is, with caches in `home`."""
        ours = {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home / "huggingface"),
            "DRAFTMARK_CACHE": str(home / "draftmark"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        unset = re.compile(
            r"(HF|HUGGING|TRANSFORMERS_OFFLINE|DRAFTMARK|PYTEST|COLUMNS|FORCE_COLOR)"
        )
        inherited = {key: value for key, value in os.environ.items() if not unset.match(key)}
        return {**inherited, **ours, **others}

    def take_requests(self) -> list[Request]:
        """Return the requests since the last call."""
        with self.lock:
            taken, self.requests = self.requests, []
        return sorted(taken, key=lambda request: request.arrived)  # they end in another order

    def find_fault(self, request: str) -> Fault:
        """Return the first fault of a request, or one that changes nothing."""
        with self.lock:
            return next((fault for fault in self.faults if fault.applies(request)), Fault(""))


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection as the hub does."""

    protocol_version = "HTTP/1.1"
    server: LocalHub

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.status = self.sent = 0
        self.arrived = time.monotonic()
        self.url = urlsplit(self.path)
        self.fault = self.server.find_fault(f"{self.command} {self.path}")
        try:
            self.answer_or_fail()
        except Refusal as refusal:
            headers = {"X-Error-Message": str(refusal)}
            headers |= {"X-Error-Code": refusal.code} if refusal.code else {}
            self.send_json({"error": str(refusal)}, refusal.status, headers)
        except OSError:  # the client has gone
            self.close_connection = True
        finally:
            self.note()

    do_HEAD = do_GET

    def note(self) -> None:
        """Log the request; of a token only whether there was one."""
        request = Request(
            self.command,
            self.path,
            self.headers.get("Range"),
            "Authorization" in self.headers,
            self.status,
            self.sent,
            self.arrived,
        )
        with self.server.lock:
            self.server.requests.append(request)

    def answer_or_fail(self) -> None:
        if self.fault.call:
            self.fault.call()
        if self.fault.hang_s or self.fault.drop:
            self.server.stopped.wait(self.fault.hang_s)
            self.close_connection = True
        elif self.fault.status:
            self.send(self.fault.status, self.fault.body, self.fault.headers)
        else:
            self.answer()

    def answer(self) -> None:
        path = unquote(self.url.path)
        for pattern, serve in (
            (_API, self.serve_facts),
            (_STORAGE, self.serve_storage),
            (_RESOLVE, self.serve_resolve),
        ):
            if match := pattern.fullmatch(path):
                serve(**match.groupdict())
                return
        if path != "/api/whoami-v2":
            raise Refusal(404, "", "Not found")
        if not (token := self.token()):
            raise Refusal(401, "", "Invalid username or password.")
        self.send_json({"type": "user", "name": self.server.tokens[token], "orgs": []})

    def token(self) -> str:
        """Return the request's token, "" without one; a token of nobody is refused."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.server.tokens:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return token

    def repository(self, name: str) -> Repository:
        """Return a repository; the hub does not say if a hidden one exists."""
        token, found = self.token(), self.server.repositories.get(name)
        if found and not (found.private and token not in found.readers):
            return found
        if token:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        raise Refusal(401, "RepoNotFound", "Invalid username or password.")

    def commit(self, repository: Repository, revision: str) -> str:
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def serve_facts(
        self, kind: str, name: str, verb: str | None, revision: str | None, under: str | None
    ) -> None:
        repository = self.repository(f"{kind}/{name}")
        if verb == "refs":
            branches = [
                {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": commit}
                for branch, commit in repository.branches.items()
            ]
            self.send_json({"branches": branches, "tags": [], "converts": []})
            return
        commit = self.commit(repository, revision or "main")
        if verb == "tree":
            self.serve_tree(repository.commits[commit], under or "")
            return
        facts = {"id": name, "sha": commit, "private": repository.private, "tags": []}
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        gated = "manual" if repository.gated else False
        self.send_json({**facts, "modelId": name, "gated": gated, "siblings": siblings})

    def serve_tree(self, files: Mapping[str, HubFile], under: str) -> None:
        query = {key: values[-1] for key, values in parse_qs(self.url.query).items()}
        deep = query.get("recursive", "").lower() in ("true", "1")
        entries = list(_tree(files, f"{under}/" if under else "", deep, self.fault.claim_size))
        if under and not entries:
            raise Refusal(404, "EntryNotFound", f"{under} does not exist")
        start = int(query.get("cursor", 0))
        stop = start + self.server.tree_page
        headers = {}
        if stop < len(entries):
            following = urlencode({**query, "cursor": stop})
            headers["Link"] = f'<{self.server.address}{self.url.path}?{following}>; rel="next"'
        self.send_json(entries[start:stop], headers=headers)

    def serve_resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        name = f"{'datasets' if kind else 'models'}/{name}"
        repository = self.repository(name)
        commit = self.commit(repository, revision)
        self.check_access(name, repository)
        if path not in repository.commits[commit]:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        file = repository.commits[commit][path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if not file.is_lfs:
            self.send_file(file, headers)
            return
        linked = {
            "X-Linked-Size": str(self.fault.claim_size or len(file.data)),
            "X-Linked-Etag": f'"{file.etag}"',
            "Location": f"{self.server.storage}/storage/{name}/{commit}/{quote(path)}",
        }
        self.send(302, b"", headers | linked)

    def check_access(self, name: str, repository: Repository) -> None:
        """Refuse the files, not the facts, of a gated repository to other readers."""
        token = self.token()
        if repository.gated and token not in repository.readers:
            status = 403 if token else 401
            raise Refusal(status, "GatedRepo", f"Access to {name} is restricted.")

    def serve_storage(self, kind: str, name: str, commit: str, path: str) -> None:
        """Serve a large file to anyone, as a signed address does."""
        file = self.server.repositories[f"{kind}/{name}"].commits[commit][path]
        self.send_file(file, {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"})

    def send_file(self, file: HubFile, headers: Mapping[str, str]) -> None:
        data, status, size = file.data, 200, len(file.data)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
            data, status = data[first : last + 1], 206
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}
        if self.fault.corrupt and data:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        self.send(status, data, {"Content-Type": "application/octet-stream", **headers})

    def send_json(
        self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(value).encode()
        self.send(status, data, {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(data)

    def send_body(self, data: bytes) -> None:
        """Send a body whole, slowly, or cut."""
        end = len(data) if self.fault.cut_after is None else self.fault.cut_after
        for start in range(0, min(end, len(data)), CHUNK):
            part = data[start : min(start + CHUNK, end)]
            self.wfile.write(part)
            self.sent += len(part)
            if self.fault.rate and self.server.stopped.wait(len(part) / self.fault.rate):
                break
        self.close_connection |= self.sent < len(data)

    def log_message(self, *_: object) -> None:
        """Print nothing: the server's log has every request."""


def _tree(
    files: Mapping[str, HubFile], prefix: str, deep: bool, claimed: int
) -> Iterator[dict[str, Any]]:
    """Yield the entries of folders and files below a prefix."""
    folders = set()
    for path, file in files.items():
        inner = path.removeprefix(prefix)
        if not path.startswith(prefix):
            continue
        parents = [prefix + inner[: at.start()] for at in re.finditer("/", inner)]
        for folder in parents if deep else parents[:1]:
            if folder not in folders:
                folders.add(folder)
                oid = hashlib.sha1(folder.encode()).hexdigest()
                yield {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if deep or not parents:
            yield file.entry(claimed)


@contextmanager
def serve_hub() -> Iterator[LocalHub]:
    """Serve a hub without repositories while the block runs."""
    with LocalHub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.stopped.set()
            with suppress(OSError):
                hub.shutdown()
            thread.join()


def run_draftmark(
    hub: LocalHub, folder: Path, *arguments: str | Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Return the outcome of a command in a child process, whose working directory is `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "draftmark", *map(str, arguments)],
        cwd=folder,
        env=hub.environment(folder, **environment),
        capture_output=True,
        text=True,
    )


def parquet(rows: Sequence[Mapping[str, Any]], *, rows_per_group: int = 100) -> bytes:
    """Return the bytes of a parquet file."""
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    table = pyarrow.Table.from_pylist([dict(row) for row in rows])
    pyarrow.parquet.write_table(table, out, row_group_size=rows_per_group)
    return out.getvalue()


def sums(count: int, first: int = 0) -> list[dict[str, str]]:
    """Return rows in gsm8k's columns whose questions differ."""
    return [
        {"question": f"What is {n} + {n + 1}?", "answer": f"{n} + {n + 1} is\n#### {2 * n + 1}"}
        for n in range(first, first + count)
    ]


def add_gsm8k(hub: LocalHub, *, train: int = 340, test: int = 40) -> None:
    """Add a data set with the name, commit and files of gsm8k; its last 300 rows validate."""
    from draftmark.registry import find_registered

    place = find_registered("tasks", "gsm8k").hub
    files = {
        "README.md": b"Rows of tests.",
        "main/test-00000-of-00001.parquet": parquet(sums(test, first=10_000)),
        "main/train-00000-of-00002.parquet": parquet(sums(train // 2)),
        "main/train-00001-of-00002.parquet": parquet(sums(train - train // 2, first=train // 2)),
    }
    hub.add(f"datasets/{place.path}", files, commit=place.revision)
