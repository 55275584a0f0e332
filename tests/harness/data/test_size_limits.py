"""Archives and GGUF files that claim more than they hold: refused before anything is allocated."""

import gzip
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark import registry
from draftmark.data.rows import load_rows
from draftmark.data.size_limits import MAX_UNPACKED, check_gguf, check_member, unzip_within_limit
from draftmark.errors import UserError

HEADER = struct.Struct("<4sIQQ")
HUGE = 2**60


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "honest.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_tensor("weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def fact(kind: int, value: bytes) -> bytes:
    return HEADER.pack(b"GGUF", 3, 0, 1) + text("key") + struct.pack("<I", kind) + value


def test_an_honest_file_is_opened(honest: Path) -> None:
    check_gguf(honest)


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(b"GGUF", 3, HUGE, 0),
        HEADER.pack(b"GGUF", 3, 0, HUGE),
        HEADER.pack(b"GGUF", 3, 2**64 - 1, 2**64 - 1),
        HEADER.pack(b"GGUF", 1, 0, 0),
        HEADER.pack(b"PK\x03\x04", 3, 0, 0),
        b"",
        fact(8, struct.pack("<Q", HUGE)),
        fact(9, struct.pack("<IQ", 4, HUGE)),
        fact(9, struct.pack("<IQ", 8, HUGE)),
        fact(9, struct.pack("<IQ", 9, HUGE)),
        fact(9, struct.pack("<IQ", 9, 1) * 200),
        fact(99, bytes(64)),
        HEADER.pack(b"GGUF", 3, 1, 0) + text("w") + struct.pack("<IQIQ", 1, HUGE, 0, 0),
        HEADER.pack(b"GGUF", 3, 1, 0) + text("w") + struct.pack("<I", 2**31) + bytes(64),
        HEADER.pack(b"GGUF", 3, 1, 0) + text("w") + struct.pack("<IQIQ", 1, 8, 0, HUGE) + bytes(9),
    ],
)
def test_a_crafted_header_is_refused_before_anything_is_allocated(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "crafted.gguf"
    path.write_bytes(data)

    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"crafted\.gguf is not a GGUF file that"):
            check_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(place=st.integers(0, 400), byte=st.integers(0, 255))
@settings(max_examples=200)
def test_no_byte_in_a_header_ends_in_a_traceback(honest: Path, place: int, byte: int) -> None:
    data = bytearray(honest.read_bytes())
    data[place] = byte
    spoiled = honest.with_name("spoiled.gguf")
    spoiled.write_bytes(data)

    with suppress(UserError):
        check_gguf(spoiled)


def test_a_member_of_an_archive_is_held_against_its_bound() -> None:
    info = zipfile.ZipInfo("weights.gguf")
    info.file_size = MAX_UNPACKED
    check_member(info)
    info.file_size += 1

    with pytest.raises(UserError, match=r"weights\.gguf claims 4\.3 GB"):
        check_member(info)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_what_is_in_proportion_is_unpacked(parts: list[bytes]) -> None:
    packed = b"".join(map(gzip.compress, parts))

    assert unzip_within_limit(packed, Path("rows.jsonl.gz")) == b"".join(parts)


def test_rows_out_of_all_proportion_are_refused(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl.gz").write_bytes(gzip.compress(bytes(100 * 2**20), 1))

    with pytest.raises(UserError, match=r"test\.jsonl\.gz unpacks to more than .* MB, out of prop"):
        load_rows(
            registry.find_registered("tasks", "gsm8k"),
            "test",
            1,
            sources=["directory"],
            directory=tmp_path,
        )
