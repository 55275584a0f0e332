"""How questions are put: a task's styles, and solved examples before the question.

Solved examples are the first rows of the split that the task takes them from, which is never the
test split; where that is the train split, drafts do not train on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from draftmark.config.sections import Prompting
from draftmark.data.rows import Rows
from draftmark.errors import unknown
from draftmark.types import Example, Split, Task, Turn


def counts_with_shots(task: Task, told: Prompting, counts: Mapping[Split, int]) -> dict[Split, int]:
    """Return how many rows of each split have to be read."""
    wanted = dict(counts)
    if told.shots:
        wanted[task.shots_from] = wanted.get(task.shots_from, 0) + told.shots
    return wanted


def format_prompts(task: Task, told: Prompting, rows: Mapping[Split, Rows]) -> dict[Split, Rows]:
    """Return the rows as they are asked; solved examples, if any, are left as split "prompt".

    Raises UserError if the task has no such style.
    """
    styled = {split: _styled(task, told, item) for split, item in rows.items()}
    if not told.shots:
        return styled
    source = styled[task.shots_from]
    shots = source.examples[: told.shots]
    found: dict[Split, Rows] = {"prompt": replace(source, examples=shots)}
    for split, item in styled.items():
        asked = item.examples[told.shots :] if split == task.shots_from else item.examples
        if split != "prompt":
            found[split] = replace(item, examples=tuple(_after(shots, one) for one in asked))
    return found


def _styled(task: Task, told: Prompting, rows: Rows) -> Rows:
    name = told.styles.get(task.name)
    if name is None:
        return rows
    if name not in task.styles:
        raise unknown(f"style of task {task.name!r}", name, task.styles)
    return replace(rows, examples=tuple(map(task.styles[name], rows.examples)))


def _after(shots: Sequence[Example], example: Example) -> Example:
    turns: list[Turn] = []
    for shot in shots:
        turns += [*shot.messages, {"role": "assistant", "content": shot.reference}]
    return replace(example, messages=(*turns, *example.messages))
