"""The sample rows are right and reproducible, and the tiny target is safe and loadable."""

import ast
import gzip
import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.samples import generate
from tasks.samples.build_target import FOLDER, Recipe, collate, training_rows
from tasks.samples.gsm8k_more_templates import TEMPLATES
from tasks.samples.gsm8k_rows import gsm8k_rows, problem, total
from tasks.samples.gsm8k_templates import Template
from tasks.samples.tiny_tokenizer import Encoded, encode

STEP = re.compile(r"(\S+) = \$?<<(\S+)=(\d+)>>(\d+)")
SEEDS = st.integers(min_value=0, max_value=2**32)
ANY_TEMPLATE = st.sampled_from(TEMPLATES)
OPERATIONS = {
    ast.Add: Fraction.__add__,
    ast.Sub: Fraction.__sub__,
    ast.Mult: Fraction.__mul__,
    ast.Div: Fraction.__truediv__,
}


def exact(formula: str) -> Fraction:
    """The value of a sum by the usual precedence, in exact arithmetic."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        assert isinstance(node.value, int)
        return Fraction(node.value)

    return value(ast.parse(formula, mode="eval").body)


def row_of(template: Template, *, seed: int) -> dict[str, str]:
    question, answer = problem(template, rng=Random(seed))
    return {"question": question, "answer": answer}


@cache
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.mark.parametrize("split", generate.SIZES)
def test_written_split_regenerates_byte_identically(split: str) -> None:
    stored = gzip.decompress((generate.FOLDER / f"{split}.jsonl.gz").read_bytes())
    assert stored == generate.jsonl(generate.splits()[split])


def test_written_gzip_holds_neither_time_nor_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.gz"
    generate.write(path, data=b"rows")
    flags, time = path.read_bytes()[3], path.read_bytes()[4:8]
    assert (flags, time) == (0, bytes(4))


def test_splits_share_no_question_and_hold_none_twice() -> None:
    questions = [row["question"] for split in generate.SIZES for row in generate.read(split)]
    assert len(set(questions)) == len(questions) == sum(generate.SIZES.values())


def test_rows_have_the_published_columns_only() -> None:
    assert all(set(row) == {"question", "answer"} for row in generate.read("train"))


@given(seed=SEEDS)
def test_a_seed_always_gives_the_same_rows(seed: int) -> None:
    assert gsm8k_rows(5, seed=seed) == gsm8k_rows(5, seed=seed)


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_every_annotation_evaluates_to_its_value(template: Template, seed: int) -> None:
    for line in row_of(template, seed=seed)["answer"].splitlines()[:-1]:
        ((written, inside, value, after),) = STEP.findall(line)
        assert written.removeprefix("$") == inside
        assert exact(inside) == int(value) == int(after)


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_final_number_is_the_last_annotations_value(template: Template, seed: int) -> None:
    *steps, last = row_of(template, seed=seed)["answer"].splitlines()
    assert 2 <= len(steps) <= 4
    assert last == f"#### {STEP.findall(steps[-1])[0][2]}"


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_no_wording_choice_or_field_is_left_open(template: Template, seed: int) -> None:
    text = "\n".join(row_of(template, seed=seed).values())
    assert not re.search(r"[\[\]{}|]|  | [.,?]|\n\n", text)


@given(template=ANY_TEMPLATE, seed=SEEDS)
def test_every_number_of_a_problem_is_positive(template: Template, seed: int) -> None:
    text = "\n".join(row_of(template, seed=seed).values())
    assert all(int(number) > 0 for number in re.findall(r"\d+", text))


def test_a_division_that_does_not_come_out_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        total("a / 2", numbers={"a": 7})


def test_target_is_trained_without_the_held_out_questions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = Recipe(rows=9)
    rows = gsm8k_rows(9, seed=recipe.seed)
    monkeypatch.setattr(generate, "read", {"validation": rows[:2], "test": rows[2:4]}.get)
    assert training_rows(recipe) == rows[4:]


def test_padding_weighs_nothing_in_training() -> None:
    rows = [Encoded([5, 6, 7], prompt=2), Encoded([5, 6, 7, 8], prompt=1)]
    batch = collate(rows, question_weight=0.5, pad=0)
    assert batch.ids.tolist() == [[5, 6, 7, 0], [5, 6, 7, 8]]
    assert batch.weights.tolist() == [[0.5, 0.5, 1, 0], [0.5, 1, 1, 1]]


def test_target_folder_is_small_and_holds_no_pickle() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8 * 2**20
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert FOLDER / "model.safetensors" in files


def test_target_ends_on_the_tokenizers_end_token() -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    ends = {model.config.eos_token_id, model.generation_config.eos_token_id}
    assert ends == {tokenizer().eos_token_id}
    assert tokenizer().pad_token_id not in ends
    assert model.config.vocab_size == len(tokenizer())


def test_chat_template_round_trips() -> None:
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    rendered = tokenizer().apply_chat_template(turns, tokenize=False)
    assert rendered == ("<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n")
    assert tokenizer().decode(tokenizer()(rendered)["input_ids"]) == rendered


def test_rows_are_cut_where_generation_begins() -> None:
    row = generate.read("train")[0]
    (encoded,) = encode([row], tokenizer=tokenizer())
    turns = [{"role": "user", "content": row["question"]}]
    prompt = tokenizer().apply_chat_template(turns, add_generation_prompt=True, tokenize=True)
    assert encoded.ids[: encoded.prompt] == prompt["input_ids"]
    assert tokenizer().decode(encoded.ids[encoded.prompt :]) == row["answer"] + "<|im_end|>"


@given(number=st.integers(min_value=0))
def test_tokenizer_splits_digits_singly(number: int) -> None:
    assert tokenizer().tokenize(f"sold {number} in")[-len(str(number)) - 1 : -1] == [*str(number)]


@given(text=st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert tokenizer().decode(tokenizer()(text)["input_ids"]) == text
