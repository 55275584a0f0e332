"""The tiny target's tokenizer: byte-level BPE with single digits, and ChatML turns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from draftmark.types import Example

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 1024
CONTEXT = 1024  # fits the longest prompt and 512 new tokens
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Encoded:
    """A row as token ids; the first `prompt` of them are the user's turn."""

    ids: list[int]
    prompt: int


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn merges from texts; digits are split off first, so that none is merged."""
    core = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def render_prompt(example: Example, *, tokenizer: PreTrainedTokenizerFast) -> str:
    """Render what an example asks, up to where the assistant's turn begins."""
    turns = [*example.messages]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def encode_examples(
    examples: Sequence[Example], *, tokenizer: PreTrainedTokenizerFast
) -> list[Encoded]:
    """Encode each example's prompt, and its answer with the end token."""
    prompts = tokenizer([render_prompt(example, tokenizer=tokenizer) for example in examples])
    answers = tokenizer([example.reference + END for example in examples])
    pairs = zip(prompts["input_ids"], answers["input_ids"], strict=True)
    return [Encoded(prompt + answer, prompt=len(prompt)) for prompt, answer in pairs]
