"""Several processes: how rows are shared, and what is said when one fails."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.store.graph import Job
from draftmark.training.launcher import run_shared
from draftmark.training.process_group import ProcessGroup


def _note(job: Job, team: ProcessGroup) -> None:
    """What two processes do together: each notes what it has of rows and of sums."""
    import torch

    weight = torch.nn.Parameter(torch.zeros(2))
    if team.is_first:
        weight.grad = torch.tensor([1.0, 2.0])  # the other one had no rows
    team.sum_gradients([weight])
    everyones = team.gather_tokens(torch.tensor([float(team.rank)]).repeat(team.rank + 1))
    said = [
        list(team.own_rows(range(5))),
        weight.grad.tolist() if weight.grad is not None else None,
        everyones.tolist(),
        team.sum_values(team.rank + 0.5),
        team.from_first(lambda: f"from {team.rank}"),
    ]
    (job.out / f"{team.rank}.txt").write_text(str(said), encoding="utf-8")


def _refuse(job: Job, team: ProcessGroup) -> None:
    if team.rank == 1:
        raise UserError("The rows are too long.")
    team.wait()


def _fail(job: Job, team: ProcessGroup) -> None:
    if team.rank == 1:
        raise ZeroDivisionError("nothing to divide by")
    team.wait()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folders = [tmp_path / name for name in ("out", "scratch")]
    for folder in folders:
        folder.mkdir()
    return Job({}, *folders, Progress(quiet=True))


@given(st.integers(0, 40), st.integers(1, 9))
def test_every_row_is_one_processs_in_order_and_as_equal_as_can_be(rows: int, count: int) -> None:
    shares = [ProcessGroup(rank, count).own_rows(range(rows)) for rank in range(count)]

    assert [row for each in shares for row in each] == list(range(rows))
    sizes = [len(each) for each in shares]
    assert max(sizes) - min(sizes) <= 1
    assert not rows or sizes[0] > 0  # the first one says what it is that a step reads


def test_alone_a_team_is_what_it_is_given(job: Job) -> None:
    run_shared(_note, job, 1)

    assert (job.out / "0.txt").read_text("utf-8") == str(
        [[0, 1, 2, 3, 4], [1.0, 2.0], [0.0], 0.5, "from 0"]
    )


@pytest.fixture
def has_imported(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the launcher and its workers be of a Python that has imported torch."""
    monkeypatch.setattr(sys, "executable", python)


@pytest.mark.slow
@pytest.mark.usefixtures("has_imported")
def test_processes_share_rows_and_put_together_what_they_have(job: Job) -> None:
    run_shared(_note, job, 2)

    together = [[1.0, 2.0], [0.0, 1.0, 1.0], 2.0, "from 0"]
    said = [(job.out / f"{rank}.txt").read_text("utf-8") for rank in (0, 1)]
    assert said == [str([[0, 1, 2], *together]), str([[3, 4], *together])]


@pytest.mark.slow
@pytest.mark.usefixtures("has_imported")
def test_what_a_person_can_mend_is_said_in_one_sentence(job: Job) -> None:
    with pytest.raises(UserError, match=r"^The rows are too long\.$"):
        run_shared(_refuse, job, 2)


@pytest.mark.slow
def test_the_traceback_of_a_bug_is_that_of_the_process_that_had_it(job: Job) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: nothing to divide by"):
        run_shared(_fail, job, 2)
