"""What a submission is beside earlier ones: a copy, another draft of one name, or other texts."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from draftmark.analysis.board.submission import Submission
from draftmark.analysis.count_columns import COUNTED

_DIGITS = 6  # of counts that are compared with another submission's
_MOST_SHARED = 0.5  # the share of prompts whose counts may be those of another draft
# Settings of a method and of a training that make no other draft.
_NOT_OF_DRAFT = {"label", "against", "sweep", "training", "trackers", "processes"}
_Key = tuple[Any, ...]


@dataclass
class Earlier:
    """The submissions that were seen so far, by what later ones must not share with them."""

    targets: dict[str, str] = field(default_factory=dict)  # by name in lower case
    names: dict[str, Submission] = field(default_factory=dict)  # likewise
    marks: dict[str, Submission] = field(default_factory=dict)  # by all counts of a task
    prompts: dict[_Key, Submission] = field(default_factory=dict)  # by the counts of one prompt
    lengths: dict[_Key, tuple[Any, Submission]] = field(default_factory=dict)  # by texts

    def add(self, submission: Submission) -> None:
        """Add a submission that is sound."""
        for _ in self.faults_of(submission):
            pass

    def faults_of(self, submission: Submission) -> Iterator[tuple[str, str]]:
        """Yield the check and the sentence of each fault; the submission is an earlier one then."""
        yield from self._name_faults(submission)
        if copies := list(self._copies(submission)):
            yield from copies
        else:
            yield from self._edited_copies(submission)
        yield from self._other_lengths(submission)

    def _name_faults(self, submission: Submission) -> Iterator[tuple[str, str]]:
        """Yield a name that differs by case alone, or the name of an earlier draft that is another.

        A series of submissions is of one draft, so that a change in it is not that of another one.
        """
        target = submission.header.target
        first_target = self.targets.setdefault(target.lower(), target)
        first = self.names.setdefault(submission.name.lower(), submission)
        for own_name, known_name in ((target, first_target), (submission.name, first.name)):
            if own_name != known_name:
                names = f"{own_name} and {known_name}"
                yield "names", f"{names} differ by upper and lower case alone"
                return
        known, own = _draft_facts(first), _draft_facts(submission)
        differing = [name for name in known.keys() & own.keys() if known[name] != own[name]]
        if differing:
            what = ", ".join(sorted(differing))
            text = f"its draft is not that of {first.place}: {what}; give it another --name"
            yield "drafts", text

    def _copies(self, submission: Submission) -> Iterator[tuple[str, str]]:
        """Yield a fault for an earlier submission of equal counts, unless other versions made it.

        The same draft may be measured again with a new engine or library, and have the same counts.
        """
        others: dict[str, Submission] = {}
        for task in submission.cells:
            mark = _mark(submission, task)
            if (other := self.marks.setdefault(mark, submission)) is not submission:
                others.setdefault(other.place, other)
        for place, other in others.items():
            if other.name != submission.name:
                yield "duplicates", f"its counts are those of {place}, under another name"
            elif _made_with(other) == _made_with(submission):
                yield "duplicates", f"it repeats {place}"

    def _edited_copies(self, submission: Submission) -> Iterator[tuple[str, str]]:
        """Yield an earlier draft of another name with which most prompts share their counts.

        Above temperature 0 counts are sums of probabilities, which no two drafts share by chance.
        """
        shared: Counter[str] = Counter()
        own = list(_prompt_keys(submission))
        for key in own:
            if (other := self.prompts.setdefault(key, submission)).name != submission.name:
                shared[other.place] += 1
        for place, times in shared.items():
            if times > _MOST_SHARED * len(own):
                text = f"{times} of {len(own)} counts per prompt are those of {place}"
                yield "duplicates", f"{text}, under another name"

    def _other_lengths(self, submission: Submission) -> Iterator[tuple[str, str]]:
        """Yield texts of other lengths than an earlier submission's texts of the same hash."""
        found: dict[_Key, Any] = {}
        for at, own in submission.counts.items():
            task = submission.results.results[at.cell].cell.task
            found[task, submission.text_digest(task, at.temperature)] = own.columns["tokens"]
        for key, tokens_B in found.items():
            theirs_B, other = self.lengths.setdefault(key, (tokens_B, submission))
            if not np.array_equal(theirs_B, tokens_B):
                texts = f"{key[0]}: its texts have the hash of those of {other.place}"
                yield "texts", f"{texts}, and other lengths"


def _made_with(submission: Submission) -> Any:
    manifest = submission.results.manifest
    return manifest["versions"], manifest["git"], submission.header.suite, submission.header.engines


def _mark(submission: Submission, task: str) -> str:
    """Return a hash of a task's counts, which neither order nor the last digits change."""
    places = {place: number for number, place in enumerate(submission.cells[task])}
    digest = hashlib.sha256(f"{submission.target_digest} {task}".encode())
    own = [at for at in submission.counts if at.cell in places]
    for at in sorted(own, key=lambda at: (places[at.cell], *at[1:])):
        digest.update(f"{places[at.cell]} {at[1:]}".encode())
        for name in COUNTED:
            digest.update(np.round(submission.counts[at].columns[name], _DIGITS).tobytes())
    return digest.hexdigest()


def _prompt_keys(submission: Submission) -> Iterator[_Key]:
    """Yield what the counts of each prompt are known by, in the longest blocks.

    Whole numbers are left out: two drafts may have the same ones.
    """
    longest = max(at.gamma for at in submission.counts)
    for at, own in submission.counts.items():
        if at.temperature and at.verification == "standard" and at.gamma == longest:
            task = submission.results.results[at.cell].cell.task
            where = f"{submission.target_digest} {task} {at.temperature:g}"
            passes_B = np.round(own.columns["passes"], _DIGITS)
            for prompt, passes in zip(own.prompts_B.tolist(), passes_B.tolist(), strict=True):
                if not passes.is_integer():
                    yield where, prompt, passes


def _draft_facts(submission: Submission) -> Mapping[str, Any]:
    """Return what makes a draft, by name: method and knobs, what it starts from, its training."""
    results = submission.results
    row = results.results[0]
    entry = _entry(results.recipe["methods"], row.cell.method)
    facts = {name: value for name, value in entry.items() if name not in _NOT_OF_DRAFT}
    if any(item["stage"] == "draft" for item in row.provenance.get("entries", ())):
        pairs = {item["name"]: item["draft"] for item in results.recipe["pairs"]}
        facts["draft"] = entry.get("draft") or pairs.get(row.cell.pair)
    if row.ledger and row.ledger.steps:
        training = {**results.recipe.get("training", {}), **(entry.get("training") or {})}
        facts |= {name: it for name, it in training.items() if name not in _NOT_OF_DRAFT}
        facts |= {
            f"train rows of {task}": it["digest"].get("train")
            for task, it in submission.data.items()
        }
    return facts


def _entry(methods: Sequence[Mapping[str, Any]], title: str) -> Mapping[str, Any]:
    """Return a recipe's entry of a method by its title; the title alone if there is none."""
    found = (item for item in methods if (item.get("label") or item["name"]) == title)
    return next(found, {"name": title})
