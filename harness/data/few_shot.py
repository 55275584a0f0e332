"""Applies prompt styles and puts solved examples before the question.

The solved examples are the first rows of the task's `shots_from` split, which is never the test
split; drafts do not train on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from draftmark.config.sections import Prompting
from draftmark.data.rows import Rows
from draftmark.errors import UserError, unknown_name_error
from draftmark.types import Example, Split, Task, Turn


def counts_with_shots(
    task: Task, prompting: Prompting, counts: Mapping[Split, int]
) -> dict[Split, int]:
    """Return the number of rows to read of each split, including those for solved examples."""
    wanted = dict(counts)
    if prompting.shots:
        wanted[task.shots_from] = wanted.get(task.shots_from, 0) + prompting.shots
    return wanted


def format_prompts(
    task: Task, prompting: Prompting, rows: Mapping[Split, Rows]
) -> dict[Split, Rows]:
    """Return the rows as prompts show them, with the solved examples, if any, as split "prompt".

    Raises UserError for a style that the task does not have, and for shots without an answer.
    """
    styled = {split: _styled(task, prompting, item) for split, item in rows.items()}
    if not prompting.shots:
        return styled
    source = styled[task.shots_from]
    shots = source.examples[: prompting.shots]
    if any(not shot.reference or shot.follows for shot in shots):
        raise UserError(
            f"prompting.shots = {prompting.shots}, but {task.name} has rows without an answer, or "
            "of several turns; set shots = 0."
        )
    found: dict[Split, Rows] = {"prompt": replace(source, examples=shots)}
    for split, item in styled.items():
        asked = item.examples[prompting.shots :] if split == task.shots_from else item.examples
        if split != "prompt":
            found[split] = replace(item, examples=tuple(_after(shots, one) for one in asked))
    return found


def _styled(task: Task, prompting: Prompting, rows: Rows) -> Rows:
    name = prompting.styles.get(task.name)
    if name is None:
        return rows
    if name not in task.styles:
        raise unknown_name_error(f"style of task {task.name!r}", name, task.styles)
    return replace(rows, examples=tuple(map(task.styles[name], rows.examples)))


def _after(shots: Sequence[Example], example: Example) -> Example:
    if example.follows:
        return example  # the first turn of its conversation has the shots
    turns: list[Turn] = []
    for shot in shots:
        turns += [*shot.messages, {"role": "assistant", "content": shot.reference}]
    return replace(example, messages=(*turns, *example.messages))
