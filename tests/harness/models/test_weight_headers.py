"""A header of weights that the library would refuse is refused before anything is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hangs import no_hang
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from draftmark.errors import UserError
from draftmark.models.weight_headers import TensorFacts, read_header

WEIGHTS = {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int8), "c": torch.zeros(0, 5)}
HEADER: dict[str, Any] = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I8", "shape": [4], "data_offsets": [24, 28]},
}


def _file(path: Path, header: bytes, length: int | None = None, size: int = 28) -> Path:
    start = (len(header) if length is None else length).to_bytes(8, "little")
    path.write_bytes(start + header + bytes(size))
    return path


def _loads(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            for name in file.offset_keys():
                file.get_tensor(name)
    except (SafetensorError, OSError, ValueError):
        return False
    return True


def test_the_tensors_of_a_file_are_those_that_were_saved(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors", metadata={"format": "pt"})

    found = read_header(tmp_path / "w.safetensors")

    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tuple(tensor.shape) for name, tensor in WEIGHTS.items()
    }
    assert found["b"].dtype == "I8"


def _with(name: str, **facts: Any) -> bytes:
    return json.dumps({**HEADER, name: {**HEADER[name], **facts}}).encode()


TWICE = b'{"a": {"dtype": "F32", "shape": [7], "data_offsets": [0, 28]}, '
FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a name twice": (
        lambda at: _file(at, TWICE + TWICE[1:-2] + b"}"),
        "a name is there twice",
    ),
    "common bytes": (lambda at: _file(at, _with("b", data_offsets=[20, 24])), "cut or damaged"),
    "a hole": (
        lambda at: _file(at, _with("a", shape=[5], data_offsets=[0, 20])),
        "common bytes, or bytes of none",
    ),
    "another type": (lambda at: _file(at, _with("a", dtype="F16")), "not the bytes of its type"),
    "no type": (lambda at: _file(at, _with("a", dtype=None)), "not the bytes of its type"),
    "another shape": (lambda at: _file(at, _with("a", shape=[2, 4])), "not the bytes of its"),
    "a negative shape": (lambda at: _file(at, _with("a", shape=[-2, -3])), "impossible"),
    "a giant shape": (lambda at: _file(at, _with("a", shape=[2**63])), "impossible"),
    "a shape of text": (lambda at: _file(at, _with("a", shape="23")), "impossible"),
    "many dimensions": (lambda at: _file(at, _with("a", shape=[1] * 10_000)), "impossible"),
    "backwards": (lambda at: _file(at, _with("a", data_offsets=[24, 0])), "not the bytes"),
    "one offset": (lambda at: _file(at, _with("a", data_offsets=[24])), "not a whole"),
    "a long name": (
        lambda at: _file(at, _with("a").replace(b'"a"', b'"%s"' % (b"a" * 9000))),
        "a{80}' has",
    ),
    "a long header": (lambda at: _file(at, b"{}", 2**63), "would have 9223372036854775808 bytes"),
    "a nested header": (lambda at: _file(at, b"[" * 100_000), "not a whole"),
    "a list": (lambda at: _file(at, b"[]"), "not a whole"),
    "bytes of none": (lambda at: _file(at, b"{}"), "cut or damaged"),
    "a cut file": (lambda at: _file(at, json.dumps(HEADER).encode(), size=27), "cut or damaged"),
}
STRICTER = ("a name twice", "a long name")  # than the library


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_header_is_named(tmp_path: Path, fault: str) -> None:
    make, words = FAULTS[fault]
    file = make(tmp_path / "w.safetensors")

    with no_hang(), pytest.raises(UserError, match=words) as refused:
        read_header(file)

    assert len(str(refused.value)) < 500
    assert _loads(file) == (fault in STRICTER)


places = st.tuples(st.sampled_from(["F32", "I8", "F16"]), st.integers(0, 3), st.integers(0, 12))


@given(st.dictionaries(st.sampled_from("abcd"), places, max_size=3), st.integers(0, 28))
def test_what_is_taken_is_what_the_library_takes(
    tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, tuple[str, int, int]], size: int
) -> None:
    bytes_of = {"F32": 4, "I8": 1, "F16": 2}
    header = {
        name: {"dtype": dtype, "shape": [n], "data_offsets": [start, start + n * bytes_of[dtype]]}
        for name, (dtype, n, start) in drawn.items()
    }
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    file = _file(path, json.dumps(header).encode(), size=size)
    try:
        found = read_header(file)
    except UserError:
        found = None
    assert _loads(file) == (found is not None)
    assert not found or all(isinstance(item, TensorFacts) for item in found.values())
