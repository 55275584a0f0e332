"""An input that a test makes once is the same in every process of a run of pytest."""

import pytest
from made_once import made_once


def test_only_the_first_that_asks_makes_it_and_a_failure_is_tried_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tried = []

    def make() -> list[int]:
        tried.append(len(tried))
        if len(tried) == 1:
            raise OSError("no room")
        return [len(tried)]

    with pytest.raises(OSError, match="no room"):
        made_once(tmp_path_factory, "a number", make)
    assert [made_once(tmp_path_factory, "a number", make) for _ in range(2)] == [[2], [2]]
    assert tried == [0, 1]
