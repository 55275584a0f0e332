"""How questions are put: styles, solved examples, chat templates and plain text."""

from typing import Any

import pytest

from draftmark.config.sections import Prompting
from draftmark.data.few_shot import counts_with_shots, format_prompts
from draftmark.data.prompts import encode_gold, encode_prompt, to_plain_text
from draftmark.data.rows import load_splits
from draftmark.errors import UserError
from draftmark.tasks.gsm8k import TASK
from draftmark.tasks.mbpp import TASK as MBPP
from draftmark.types import Example, Split

COUNTS: dict[Split, int] = {"train": 5, "validation": 2, "test": 3}


def put_samples(told: Prompting) -> Any:
    wanted = counts_with_shots(TASK, told, COUNTS)
    return format_prompts(TASK, told, load_splits(TASK, wanted, sources=["samples"]))


def test_without_shots_rows_are_as_they_were() -> None:
    assert put_samples(Prompting()) == load_splits(TASK, COUNTS, sources=["samples"])


def test_shots_go_before_every_question_and_drafts_do_not_train_on_them() -> None:
    rows, bare = put_samples(Prompting(shots=2)), put_samples(Prompting())
    shots = rows["prompt"].examples
    assert [shot.id for shot in shots] == ["gsm8k/train/0", "gsm8k/train/1"]
    assert [example.id for example in rows["train"].examples] == [
        f"gsm8k/train/{n}" for n in range(2, 7)
    ]
    for split in ("train", "validation", "test"):
        for example in rows[split].examples:
            assert [turn["role"] for turn in example.messages] == ["user", "assistant"] * 2 + [
                "user"
            ]
            assert example.messages[1]["content"] == shots[0].reference
    assert rows["test"].examples[0].messages[-1] == bare["test"].examples[0].messages[-1]
    assert rows["test"].digest != bare["test"].digest


def test_a_task_with_a_split_for_shots_takes_them_from_there() -> None:
    assert counts_with_shots(MBPP, Prompting(shots=3), COUNTS) == {**COUNTS, "prompt": 3}
    assert counts_with_shots(MBPP, Prompting(), COUNTS) == COUNTS


def test_an_unknown_style_gets_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"style of task 'gsm8k' 'adaspek'.*Did you mean 'adaspec'"):
        put_samples(Prompting(styles={"gsm8k": "adaspek"}))


def test_adaspec_asks_and_answers_as_published() -> None:
    rows = put_samples(Prompting(styles={"gsm8k": "adaspec"}))
    example, bare = rows["test"].examples[0], put_samples(Prompting())["test"].examples[0]
    asked = bare.messages[-1]["content"]
    assert example.messages[-1]["content"] == (
        f"{asked}\nAnswer the above question. First think step by step and then answer the final "
        "number.\n"
    )
    final = bare.meta["final"]
    assert example.reference.endswith(f"The final answer is:  {final}")
    assert "####" not in example.reference
    for answer in (example.reference, f"So it is. The final answer is: {final}"):
        assert TASK.grade(example, answer)["exact_match"] == 1.0
        assert TASK.grade(example, answer)["flexible_match"] == 1.0
    assert TASK.grade(example, f"#### {final}")["answered"] == 1.0
    assert TASK.grade(example, "The final answer is: none")["exact_match"] == 0.0


def test_plain_text_is_a_question_and_what_follows_is_its_answer() -> None:
    turns = [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2 + 2?\n"},
    ]
    assert to_plain_text(turns) == "1 + 1?\n2\n\n2 + 2?\n"


def test_a_model_without_a_template_is_asked_in_plain_text(tokenizer: Any) -> None:
    example = Example("a/test/0", ({"role": "user", "content": "How many?"},), "3")
    bare = copy_without_template(tokenizer)
    expected = tuple(tokenizer.encode("How many?\n"))
    assert encode_prompt(bare, example) == expected
    assert encode_prompt(tokenizer, example, "plain") == expected
    assert encode_prompt(tokenizer, example) != expected
    end = tokenizer.eos_token_id
    (text,) = encode_gold(bare, [example], frozenset({end}))
    assert text.prompt_ids == expected
    assert text.response_ids == (*tokenizer.encode("3", add_special_tokens=False), end)


def test_a_template_that_is_not_there_cannot_be_asked_for(tokenizer: Any) -> None:
    example = Example("a/test/0", ({"role": "user", "content": "How many?"},), "3")
    with pytest.raises(UserError, match=r"format = 'chat'.*no chat template; choose 'plain'"):
        encode_prompt(copy_without_template(tokenizer), example, "chat")


def copy_without_template(tokenizer: Any) -> Any:
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    return bare
